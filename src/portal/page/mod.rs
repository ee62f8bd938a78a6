//! What each page needs to know, as plain values. No page asks anyone for anything while it is drawn.
//!
//! Each type has `samples()`, the states a page can be in, extremes included: the snapshot tests and the gallery are
//! drawn from them.

mod account;
mod error;
mod sign_in;
mod sign_out;
mod signed_out;

pub use account::{
    Account, AccountNotice, LinkedIdentity, OpenSession, SESSION_FIELD, UNLINK_FIELD, WHICH_ALL, WHICH_FIELD,
    WHICH_ONE, WHICH_OTHERS,
};
pub use error::Error;
pub use sign_in::{Choice, Destination, SignIn};
pub use sign_out::{EVERYWHERE_FIELD, RETURN_TO_FIELD, SignOut};
pub use signed_out::{AtProvider, SignedOut};

/// A named state of a page.
#[cfg(test)]
pub(crate) type Sample<P> = (&'static str, P);

#[cfg(test)]
mod sample {
    //! Awkward values that every page must bear.
    pub(super) const LONG: &str = "Wolfeschlegelsteinhausenbergerdorff-Ōtomo-no-Yakamochi-Nebuchadnezzar Hubert Blaine Bartholomew Featherstonehaugh the Third";
    pub(super) const RTL: &str = "نور الدين عبد الرحمن";
    pub(super) const HOSTILE: &str = "<script>alert(\"1\")</script> & 'co'";
}
