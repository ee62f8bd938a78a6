//! Everything the demo needs beside the gateway, on the usual ports.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use url::Url;

use super::{
    listen,
    sample_app::SampleApp,
    simulator::{Registration, Simulator, SimulatorKind},
};

/// Ports of the demo; one that is taken is replaced by a free one, and 0 always means a free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Simulated Google.
    pub google: u16,
    /// Simulated Facebook.
    pub facebook: u16,
    /// Simulated X.
    pub x: u16,
    /// Simulated Cognito.
    pub cognito: u16,
    /// Simulated GitHub.
    pub github: u16,
    /// Simulated OpenID Connect issuer.
    pub oidc: u16,
    /// Simulated plain OAuth 2.0 service.
    pub oauth2: u16,
    /// The sample app.
    pub app: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self { google: 4181, facebook: 4182, x: 4183, cognito: 4184, github: 4185, oidc: 4186, oauth2: 4187, app: 4190 }
    }
}

impl Ports {
    /// Free ports for all, for tests.
    pub const FREE: Self = Self { google: 0, facebook: 0, x: 0, cognito: 0, github: 0, oidc: 0, oauth2: 0, app: 0 };
}

/// All simulators and the sample app, running until dropped.
#[derive(Debug)]
pub struct Parts {
    /// Simulated Google.
    pub google: Simulator,
    /// Simulated Facebook.
    pub facebook: Simulator,
    /// Simulated X.
    pub x: Simulator,
    /// Simulated Cognito.
    pub cognito: Simulator,
    /// Simulated GitHub.
    pub github: Simulator,
    /// Simulated OpenID Connect issuer.
    pub oidc: Simulator,
    /// Simulated plain OAuth 2.0 service.
    pub oauth2: Simulator,
    /// The app behind the gateway.
    pub app: SampleApp,
}

impl Parts {
    /// Starts everything on the runtime this is called in. Each provider knows the gateways at `gateways` (their public
    /// addresses, `http://localhost:4180` say) as a client with the callback `/oauth2/callback/KIND`.
    ///
    /// # Errors
    /// When a port cannot be bound for another reason than being taken.
    pub async fn start(ports: Ports, gateways: &[Url]) -> io::Result<Self> {
        Ok(Self {
            google: simulator(SimulatorKind::Google, ports.google, gateways).await?,
            facebook: simulator(SimulatorKind::Facebook, ports.facebook, gateways).await?,
            x: simulator(SimulatorKind::X, ports.x, gateways).await?,
            cognito: simulator(SimulatorKind::Cognito, ports.cognito, gateways).await?,
            github: simulator(SimulatorKind::GitHub, ports.github, gateways).await?,
            oidc: simulator(SimulatorKind::Oidc, ports.oidc, gateways).await?,
            oauth2: simulator(SimulatorKind::OAuth2, ports.oauth2, gateways).await?,
            app: SampleApp::start(listen::free_port_near(loopback(ports.app)).await?).await?,
        })
    }

    /// The simulators, in the order of the sign-in page.
    pub fn simulators(&self) -> [&Simulator; 7] {
        [&self.google, &self.facebook, &self.x, &self.cognito, &self.github, &self.oidc, &self.oauth2]
    }

    /// Registers one more gateway at every provider.
    pub fn register(&self, gateway: &Url) {
        for simulator in self.simulators() {
            let registration = registration(simulator.kind(), std::slice::from_ref(gateway));
            registration.redirect_uris.into_iter().for_each(|uri| simulator.allow_redirect(uri));
            registration.post_logout_uris.into_iter().for_each(|uri| simulator.allow_post_logout(uri));
        }
    }

    /// The `[provider.…]` tables of a gateway that uses all simulators, each under its kind's name.
    pub fn providers_toml(&self) -> String {
        self.simulators().map(|simulator| simulator.config_toml(simulator.kind().word())).join("\n")
    }

    /// What is where, a line each, for people.
    pub fn banner(&self) -> String {
        let line = |name: &str, address: SocketAddr| format!("  {name:<20} http://{address}\n");
        let simulators: String = self
            .simulators()
            .map(|simulator| line(&format!("simulated {}", simulator.kind().label()), simulator.address()))
            .concat();
        simulators + &line("sample app", self.app.address())
    }
}

async fn simulator(kind: SimulatorKind, port: u16, gateways: &[Url]) -> io::Result<Simulator> {
    let address = listen::free_port_near(loopback(port)).await?;
    Simulator::start(kind, address, registration(kind, gateways)).await
}

/// What gateways at these addresses would register.
fn registration(kind: SimulatorKind, gateways: &[Url]) -> Registration {
    let word = kind.word();
    let all = |paths: &[&str]| {
        let at = |gateway: &Url, path: &str| gateway.join(path).map(String::from).ok();
        gateways
            .iter()
            .flat_map(|gateway| paths.iter().filter_map(|path| at(gateway, path)).collect::<Vec<_>>())
            .collect()
    };
    Registration {
        client_id: format!("demo-{word}"),
        client_secret: format!("demo-secret-of-{word}"),
        redirect_uris: all(&[&format!("/oauth2/callback/{word}"), "/oauth2/callback"]),
        post_logout_uris: all(&["/oauth2/signed_out", "/oauth2/sign_out", "/oauth2/sign_in", "/oauth2/", "/"]),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_replaced_and_other_addresses_are_refused() {
        let taken = listen::bind(loopback(0)).await.unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(listen::free_port_near(address).await.unwrap().port(), 0);
        assert!(listen::bind("0.0.0.0:0".parse().unwrap()).await.is_err());
        let elsewhere =
            Simulator::start(SimulatorKind::X, "192.0.2.1:0".parse().unwrap(), Registration::default()).await;
        assert_eq!(elsewhere.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[tokio::test]
    async fn all_parts_start_and_describe_themselves() {
        let gateway = Url::parse("http://localhost:4180").unwrap();
        let parts = Parts::start(Ports::FREE, &[gateway]).await.unwrap();
        let table: toml::Table = toml::from_str(&parts.providers_toml()).unwrap();
        let providers = table["provider"].as_table().unwrap();
        assert_eq!(providers.len(), 7);
        for simulator in parts.simulators() {
            let provider = providers[simulator.kind().word()].as_table().unwrap();
            assert_eq!(provider["kind"].as_str().unwrap(), simulator.kind().word());
            assert!(parts.banner().contains(&simulator.address().to_string()));
        }
        assert!(
            registration(SimulatorKind::X, &[Url::parse("https://a.example/").unwrap()])
                .redirect_uris
                .contains(&"https://a.example/oauth2/callback/x".to_owned())
        );
    }
}
