//! The demo: simulated providers and a sample app, so that the whole gateway can be seen and tested on one machine with
//! no registration anywhere.
//!
//! * [`simulator`]: Google, Facebook, X, Cognito, GitHub, an OpenID Connect issuer and a plain OAuth 2.0 service.
//! * [`sample_app`]: a legacy app that knows nothing of logins and shows what the gateway tells it.
//! * [`Parts`]: all of them at once, on their usual ports.
//! * [`run()`]: the whole demo, with a gateway before them.
//!
//! Everything listens on loopback addresses only and forgets everything at the end.

mod listen;
mod parts;
mod run;
pub mod sample_app;
pub mod simulator;

pub use self::{
    parts::{Parts, Ports},
    run::{Wanted, run, simulators},
    sample_app::SampleApp,
    simulator::{Lie, People, Registration, Simulator, SimulatorKind},
};
