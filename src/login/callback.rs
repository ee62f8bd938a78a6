//! The provider's answer: from a code to a signed-in browser, step by step.
//!
//! The order is fixed and each line rests on the one before: the answer is read, matched with an attempt of this very
//! browser, used up, redeemed, recorded, and only then is anybody signed in. [`Ending`] lists every way it can end; the
//! portal gives each its page. No ending is a puzzling 403: an answer that comes late, twice or in another tab carries
//! on when there is a session, else the login starts over once.

use std::time::Duration;

use http::HeaderValue;

use super::{Login, Visitor, attempt::Attempt, begin::Begin, remembered::Remembered, return_to::ReturnTo};
use crate::{
    directory::{DirectoryError, SignedIn},
    event::{Event, What},
    identity::{AccountId, ProviderName, VerifiedIdentity},
    provider::{AuthorizationResponse, Prompt, Provider, ProviderError, Redeemed},
    secret::Secret,
    session::{Beginning, SessionId, SessionKey, StoreError},
    telemetry::metrics::LoginStep,
};

/// The parameters of an answer (RFC 6749, 4.1.2; RFC 9207), as they came.
#[derive(Debug, Default)]
pub struct Answer {
    state: Option<String>,
    code: Option<Secret>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// A protocol parameter came twice (RFC 6749, 3.1): which of them is meant cannot be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a parameter of the answer came twice")]
pub struct Duplicate;

impl Answer {
    /// Reads a query or form body.
    ///
    /// # Errors
    /// [`Duplicate`] when a protocol parameter comes twice.
    pub fn parse(query: &str) -> Result<Self, Duplicate> {
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match name.as_ref() {
                "state" => &mut answer.state,
                "iss" => &mut answer.iss,
                // Facebook may answer with these two alone (its platform failures).
                "error" | "error_code" if answer.error.is_none() => &mut answer.error,
                "error_code" => continue,
                "error_description" | "error_message" if answer.error_description.is_none() => {
                    &mut answer.error_description
                }
                "error_message" => continue,
                "code" if answer.code.is_none() => {
                    answer.code = Some(Secret::new(value));
                    continue;
                }
                "code" | "error" | "error_description" => return Err(Duplicate),
                _ => continue,
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(Duplicate);
            }
        }
        Ok(answer)
    }
}

/// Every way an answer can end.
#[derive(Debug)]
pub enum Ending {
    /// Somebody is signed in: set the cookies, go on.
    SignedIn {
        /// `Set-Cookie` values: session, remembered origin, the attempt marked done.
        cookies: Vec<HeaderValue>,
        /// Where to.
        return_to: ReturnTo,
    },
    /// Nothing to do: the browser is signed in already.
    CarryOn {
        /// Where to.
        return_to: ReturnTo,
    },
    /// The attempt is gone, late or used: begin anew, once.
    StartOver {
        /// The new login.
        begin: Begin,
    },
    /// The same again after starting over: the browser does not keep our cookies, or the person took too long twice.
    Expired {
        /// The provider to try again with, when known.
        provider: Option<ProviderName>,
        /// Where the person was going.
        return_to: ReturnTo,
    },
    /// The answer is not one: no state, a parameter twice.
    Malformed,
    /// The person, or the provider for them, said no.
    Cancelled {
        /// By which provider.
        provider: ProviderName,
        /// Where the person was going.
        return_to: ReturnTo,
    },
    /// The provider failed or its answer was refused.
    Failed {
        /// Which.
        provider: ProviderName,
        /// Why; for the log and for choosing the page's words.
        error: ProviderError,
        /// Where the person was going.
        return_to: ReturnTo,
    },
    /// The identity now opens the account that asked for it as well.
    Linked {
        /// `Set-Cookie` values: the session's new id.
        cookies: Vec<HeaderValue>,
        /// By which provider.
        provider: ProviderName,
    },
    /// The identity opens another account already: nothing has changed.
    LinkTaken {
        /// By which provider.
        provider: ProviderName,
    },
    /// Whoever asked to link is no longer signed in here, or somebody else is: nothing has changed.
    LinkLost {
        /// By which provider.
        provider: ProviderName,
    },
    /// The account is disabled.
    Disabled {
        /// By which provider.
        provider: ProviderName,
    },
    /// The directory does not answer.
    DirectoryDown(DirectoryError),
    /// The session store does not answer.
    StoreDown(StoreError),
}

impl Login {
    /// Takes the answer that came to the callback of `path_provider` (`None` for the bare callback, whose provider the
    /// state tells).
    pub async fn callback(&self, path_provider: Option<&ProviderName>, query: &str, visitor: &Visitor<'_>) -> Ending {
        let Ok(answer) = Answer::parse(query) else { return Ending::Malformed };
        let Some(state) = answer.state.as_deref() else { return Ending::Malformed };
        let Some(attempt) = self.attempt_of(state, visitor) else {
            return self.without_attempt(path_provider, state, ReturnTo::home(), visitor).await;
        };
        // Mix-up defence (RFC 9700, 4.4.2.2): an attempt is answered at its own provider's callback only.
        if path_provider.is_some_and(|name| *name != attempt.provider) {
            self.refused(&attempt.provider, "mixed_up", visitor).await;
            return Ending::Malformed;
        }
        let Some(provider) = self.provider(&attempt.provider).cloned() else { return Ending::Malformed };
        let now = self.clock.now();
        if attempt.done || attempt.is_expired(now, self.login_timeout) {
            return self.late(attempt, state, visitor).await;
        }
        if attempt.link.is_none() && self.signed_in_meanwhile(&attempt, visitor).await {
            return Ending::CarryOn { return_to: attempt.return_to };
        }
        // Used up before the code is redeemed, also when the answer is an error (RFC 9700, 4.7.1).
        match self.sessions.store().use_once(&attempt.marker(), now.plus(self.login_timeout), now).await {
            Ok(true) => {}
            Ok(false) => return self.late(attempt, state, visitor).await,
            Err(error) => return Ending::StoreDown(error),
        }
        self.metrics.login(LoginStep::Callback, &attempt.provider);
        match answer {
            Answer { error: Some(error), error_description, .. } => {
                self.error_answer(&attempt, &error, error_description.as_deref(), visitor).await
            }
            Answer { code: Some(code), iss, .. } => {
                self.redeem(&*provider, attempt, &code, iss.as_deref(), visitor).await
            }
            _ => Ending::Malformed,
        }
    }

    /// The attempt of this browser that `state` answers.
    fn attempt_of(&self, state: &str, visitor: &Visitor<'_>) -> Option<Attempt> {
        let id = Attempt::id(state)?;
        let sealed = self.cookies.login(visitor.headers, id)?;
        Attempt::open(&self.keys, id, sealed).filter(|attempt| attempt.answers(state))
    }

    /// True when another tab has signed in by the same provider since this attempt began: its answer adds nothing, and
    /// replacing the new session would sign the other tab's requests out under way.
    async fn signed_in_meanwhile(&self, attempt: &Attempt, visitor: &Visitor<'_>) -> bool {
        match visitor.session(&self.sessions).await {
            Ok(Some(live)) => {
                let session = live.session();
                session.origin.provider == attempt.provider && session.created_at >= attempt.begun_at
            }
            _ => false,
        }
    }

    /// An answer to an attempt that is over. One that was to link never becomes a sign-in.
    async fn late(&self, attempt: Attempt, state: &str, visitor: &Visitor<'_>) -> Ending {
        if attempt.link.is_none() {
            return self.without_attempt(Some(&attempt.provider), state, attempt.return_to, visitor).await;
        }
        match visitor.session(&self.sessions).await {
            Ok(Some(_)) => Ending::CarryOn { return_to: attempt.return_to },
            Ok(None) => Ending::LinkLost { provider: attempt.provider },
            Err(error) => Ending::StoreDown(error),
        }
    }

    /// An answer without a usable attempt: carry on with a session, else start over once.
    async fn without_attempt(
        &self,
        provider: Option<&ProviderName>,
        state: &str,
        return_to: ReturnTo,
        visitor: &Visitor<'_>,
    ) -> Ending {
        match visitor.session(&self.sessions).await {
            Ok(Some(_)) => return Ending::CarryOn { return_to },
            Ok(None) => {}
            Err(error) => return Ending::StoreDown(error),
        }
        match provider {
            Some(provider) if self.provider(provider).is_some() && !Attempt::is_started_over(state) => {
                self.metrics.login_failed(provider, "started_over");
                let (provider, login_hint) = (provider.clone(), None);
                Ending::StartOver {
                    begin: Begin { provider, return_to, prompt: Prompt::Usual, login_hint, again: true, link: None },
                }
            }
            _ => Ending::Expired { provider: provider.cloned(), return_to },
        }
    }

    /// An error answer (RFC 6749, 4.1.2.1). Its texts are a stranger's: they go to the log, escaped and cut, and never
    /// onto a page.
    async fn error_answer(
        &self,
        attempt: &Attempt,
        error: &str,
        description: Option<&str>,
        visitor: &Visitor<'_>,
    ) -> Ending {
        let provider = attempt.provider.clone();
        let return_to = attempt.return_to.clone();
        let cut = |text: &str| text.chars().take(200).collect::<String>().escape_debug().to_string();
        tracing::info!(
            provider = %provider,
            error = cut(error),
            description = description.map(cut).unwrap_or_default(),
            request = visitor.request,
            "the provider answered a login with an error"
        );
        // Facebook tells a person's refusal as code 200.
        match error {
            "access_denied" | "user_cancelled_login" | "user_cancelled_authorize" | "200" => {
                self.refused(&provider, "cancelled", visitor).await;
                Ending::Cancelled { provider, return_to }
            }
            "server_error" | "temporarily_unavailable" => {
                self.refused(&provider, "unavailable", visitor).await;
                Ending::Failed { provider, error: ProviderError::Unavailable(cut(error)), return_to }
            }
            _ => {
                self.refused(&provider, "misconfigured", visitor).await;
                Ending::Failed { provider, error: ProviderError::Misconfigured(cut(error)), return_to }
            }
        }
    }

    /// Redeems the code, and signs the person in or links the identity.
    async fn redeem(
        &self,
        provider: &dyn Provider,
        attempt: Attempt,
        code: &Secret,
        iss: Option<&str>,
        visitor: &Visitor<'_>,
    ) -> Ending {
        // Before the code is spent: who asked to link must be the one who is signed in.
        let linking = match attempt.link {
            None => None,
            Some(account) => match self.still_of(account, visitor).await {
                Ok(Some(live)) => Some(live),
                Ok(None) => {
                    self.refused(&attempt.provider, "link_lost", visitor).await;
                    return Ending::LinkLost { provider: attempt.provider };
                }
                Err(error) => return Ending::StoreDown(error),
            },
        };
        let redirect_uri = self.redirect_uri(&attempt.provider, visitor.base);
        let (nonce, verifier) = (attempt.nonce(), attempt.pkce_verifier());
        let response =
            AuthorizationResponse { code, iss, nonce: &nonce, pkce_verifier: &verifier, redirect_uri: &redirect_uri };
        match provider.redeem(response, self.clock.now()).await {
            Ok(redeemed) => match linking {
                Some(live) => self.link(attempt, &live, &redeemed, visitor).await,
                None => self.sign_in(attempt, redeemed, visitor).await,
            },
            Err(error) => {
                tracing::warn!(provider = %attempt.provider, %error, request = visitor.request, "a login failed");
                self.refused(&attempt.provider, error.reason(), visitor).await;
                Ending::Failed { provider: attempt.provider, error, return_to: attempt.return_to }
            }
        }
    }

    /// Creates or updates the account and begins the session.
    async fn sign_in(&self, mut attempt: Attempt, redeemed: Redeemed, visitor: &Visitor<'_>) -> Ending {
        let Redeemed { identity, tokens, renew_at } = redeemed;
        if let Err(error) = self.admits_logins() {
            return Ending::StoreDown(error);
        }
        let signed_in = match self.directory.sign_in(&identity, self.clock.now()).await {
            Ok(signed_in) => signed_in,
            Err(error) => {
                self.refused(&attempt.provider, "directory_down", visitor).await;
                return Ending::DirectoryDown(error);
            }
        };
        let account = signed_in.account.id;
        let told = self.sign_in_events(&attempt, &signed_in, &identity, visitor);
        if signed_in.account.disabled {
            self.refused(&attempt.provider, "disabled", visitor).await;
            return Ending::Disabled { provider: attempt.provider };
        }
        let beginning =
            Beginning { account, identity: &identity, tokens: &tokens, renew_at, user_agent: visitor.user_agent };
        let telling = |key: &SessionKey, _: &AccountId| {
            let of_session = |event: &Event| match event.what {
                // The account outlives this session, and a chore that tells of it again knows of none.
                What::AccountCreated => event.clone(),
                _ => event.clone().of_session(&key.hex()),
            };
            self.events.letters(&told.iter().map(of_session).collect::<Vec<_>>())
        };
        // The session this browser had, whoever's it was, ends with the new one's beginning (threats 8.1).
        let id = match self.sessions.begin(beginning, visitor.session_key(), &telling).await {
            Ok(id) => id,
            Err(error) => {
                self.refused(&attempt.provider, "store_down", visitor).await;
                return Ending::StoreDown(error);
            }
        };
        told.iter().for_each(|event| self.events.tell(event));
        if signed_in.created {
            self.announced(account);
        }
        self.metrics.login(LoginStep::Completed, &attempt.provider);
        self.metrics.session_begun(&attempt.provider);
        attempt.done = true;
        let cookies = self.signed_in_cookies(&attempt, &id, &Remembered::of(identity.origin(), identity.profile()));
        Ending::SignedIn { cookies, return_to: attempt.return_to }
    }

    /// Notes that the making of an account was told, without keeping the person waiting. Should it fail, it is told again
    /// at the next sign-in or by a chore: rather twice than never, and with the same id.
    fn announced(&self, account: AccountId) {
        let directory = self.directory.clone();
        tokio::spawn(async move {
            if let Err(error) = directory.announced(&account).await {
                tracing::debug!(%error, "could not note that the new account was told of");
            }
        });
    }

    /// What is told of a sign-in: that the account was made, when it was, and that a session has begun.
    fn sign_in_events(
        &self,
        attempt: &Attempt,
        signed_in: &SignedIn,
        identity: &VerifiedIdentity,
        visitor: &Visitor<'_>,
    ) -> Vec<Event> {
        let SignedIn { account, created } = signed_in;
        let event = |what: What| Event {
            identity: Some(identity.origin().key.clone()),
            profile: Some(identity.profile().clone()),
            ..self.event(what, Some(account.id), Some(attempt.provider.clone()), visitor)
        };
        let made = created.then(|| Event { at: account.created_at, ..event(What::AccountCreated) });
        made.into_iter().chain([event(What::SignedIn)]).collect()
    }

    fn signed_in_cookies(&self, attempt: &Attempt, id: &SessionId, remembered: &Remembered) -> Vec<HeaderValue> {
        let state = attempt.state();
        let done = Attempt::id(&state).unwrap_or_default();
        vec![
            self.cookies.set_session(id, None),
            self.cookies.set_origin(&remembered.seal(&self.keys), self.remember_origin),
            self.cookies.set_login(done, &attempt.seal(&self.keys, done), KEEP_DONE),
        ]
    }
}

/// How long a browser keeps an attempt that is done, so that its callback carries on should it come again.
pub(super) const KEEP_DONE: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_comes_twice_is_refused() {
        for twice in ["code=a&code=b&state=s", "state=a&state=b", "iss=a&iss=b", "error=a&error=b&state=s"] {
            assert!(Answer::parse(twice).is_err(), "{twice}");
        }
    }

    #[test]
    fn a_platform_failure_without_error_is_an_error_all_the_same() {
        let answer = Answer::parse("error_code=1349048&error_message=App%20not%20set%20up&state=s").unwrap();
        assert_eq!(answer.error.as_deref(), Some("1349048"));
        let answer = Answer::parse("error=access_denied&error_reason=user_denied&error_code=200&state=s").unwrap();
        assert_eq!(answer.error.as_deref(), Some("access_denied"));
    }
}
