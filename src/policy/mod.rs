//! policy (being built).

/// Proof that a request may pass: no permit, no forward.
#[derive(Debug)]
pub struct Permit(());

impl Permit {
    /// A permit for tests.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self(())
    }
}
