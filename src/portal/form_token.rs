//! CSRF tokens of our forms (threats, 9: sign-out changes state only by POST with a check).
//!
//! A token is an expiry time, sealed for one form and one browser. It needs no store: nobody without our keys can make
//! one, and one made for another form or another browser does not open. Pure: keys, binding and time are handed in.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    secret::{KeyRing, Purpose},
};

/// The name of the form field that carries the token.
pub const FORM_TOKEN_FIELD: &str = "csrf";

/// How long a page may stay open before its buttons stop working: a working day.
pub const FORM_TOKEN_LIFE: Duration = Duration::from_secs(12 * 3600);

/// Which form a token is for: a token of one form is worthless for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Signing out of this browser, on the sign-out page and the account page.
    SignOut,
    /// Ending other sessions and removing ways to sign in, on the account page.
    Account,
    /// Adding a way to sign in, from the account page on.
    Link,
}

impl Form {
    fn word(self) -> &'static [u8] {
        match self {
            Self::SignOut => b"sign_out\0",
            Self::Account => b"account\0",
            Self::Link => b"link\0",
        }
    }
}

/// Why a token is not good. One reason only: whoever forges learns nothing by trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the form token is missing, expired or not for this form and browser")]
pub struct BadFormToken;

/// Makes and checks the tokens of one form.
#[derive(Debug, Clone)]
pub struct FormTokens {
    keys: KeyRing,
    form: Form,
}

impl FormTokens {
    /// The tokens of `form`, sealed with `keys`.
    pub fn new(keys: KeyRing, form: Form) -> Self {
        Self { keys, form }
    }

    /// A token for the browser known by `binding`: the bytes of its session key, or whatever else only it has.
    pub fn issue(&self, binding: &[u8], now: Timestamp) -> String {
        let until = now.plus(FORM_TOKEN_LIFE).as_millis().to_be_bytes();
        self.keys.seal_text(Purpose::FormToken, &self.context(binding), &until)
    }

    /// Checks a token that came with a form.
    ///
    /// # Errors
    /// [`BadFormToken`] when it was not issued for this form and `binding`, or its time is over.
    pub fn check(&self, token: &str, binding: &[u8], now: Timestamp) -> Result<(), BadFormToken> {
        let until = self.keys.open_text(Purpose::FormToken, &self.context(binding), token).map_err(|_| BadFormToken)?;
        let until = i64::from_be_bytes(until.as_slice().try_into().map_err(|_| BadFormToken)?);
        if now < Timestamp::from_millis(until) { Ok(()) } else { Err(BadFormToken) }
    }

    /// The form's word ends in a zero byte that no word holds, so no word and binding read like another pair.
    fn context(&self, binding: &[u8]) -> Vec<u8> {
        [self.form.word(), binding].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn tokens(form: Form) -> FormTokens {
        FormTokens::new(KeyRing::new([7; 32], []), form)
    }

    #[test]
    fn a_token_is_good_for_its_form_and_browser_until_its_time_is_over() {
        let token = tokens(Form::Account).issue(b"mine", NOW);
        let check = |form, binding: &[u8], now| tokens(form).check(&token, binding, now).is_ok();
        assert!(check(Form::Account, b"mine", NOW));
        assert!(check(Form::Account, b"mine", NOW.plus(FORM_TOKEN_LIFE - Duration::from_millis(1))));
        assert!(!check(Form::Account, b"mine", NOW.plus(FORM_TOKEN_LIFE)));
        assert!(!check(Form::SignOut, b"mine", NOW));
        assert!(!check(Form::Account, b"yours", NOW));
        assert!(!check(Form::Account, b"", NOW));
    }

    #[test]
    fn a_token_made_with_another_key_is_not_good() {
        let other = FormTokens::new(KeyRing::new([8; 32], []), Form::Account);
        assert_eq!(tokens(Form::Account).check(&other.issue(b"mine", NOW), b"mine", NOW), Err(BadFormToken));
    }

    #[test]
    fn a_token_outlives_a_key_rotation() {
        let token = tokens(Form::Account).issue(b"mine", NOW);
        let rotated = FormTokens::new(KeyRing::new([8; 32], [[7; 32]]), Form::Account);
        assert_eq!(rotated.check(&token, b"mine", NOW), Ok(()));
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_token(text in ".{0,120}") {
            prop_assert_eq!(tokens(Form::Account).check(&text, b"mine", NOW), Err(BadFormToken));
        }
    }
}
