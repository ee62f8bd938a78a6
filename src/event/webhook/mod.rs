//! An HTTP address as a sink: each event is a signed POST of its own (Standard Webhooks 1.0).
//!
//! The receiver answers 2xx once the event is safe with it. 408, 425, 429, 5xx and 3xx mean "not now": the event is
//! offered again, and no earlier than `Retry-After` says. Any other 4xx, 410 among them, means "never". A redirect is not
//! followed: the signature is for whom the operator named.

mod client;
mod signature;
#[cfg(test)]
mod tests;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use http::{HeaderMap, StatusCode, header};
use tokio::time::Instant;

use self::{client::Client, signature::Signer};
use super::{
    open::OpenError,
    sink::{EventSink, Letter, Undelivered, Why},
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::{
        event::webhook::{Webhook as Config, signing_key},
        read_secret,
    },
    told::{Examined, Sound, Told},
};

/// The longest pause a receiver may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Events to an HTTP address.
#[derive(Debug)]
pub struct WebhookSink {
    name: String,
    client: Client,
    signer: Signer,
    /// Until when the receiver wants to be left alone.
    not_before: Mutex<Option<Instant>>,
}

impl WebhookSink {
    /// The sink `name`. Reads the files its settings name.
    ///
    /// # Errors
    /// [`OpenError`] names the setting.
    pub fn open(name: &str, config: &Config) -> Result<Self, OpenError> {
        let setting = |key, what: String| OpenError::Setting { name: name.to_owned(), kind: "webhook", key, what };
        let secret = read_secret(&config.secret, &config.secret_file, "secret")
            .map_err(|error| setting("secret_file", format!("{error}: {}", error.remedy())))?;
        let key = secret.as_ref().and_then(signing_key).ok_or_else(|| {
            setting(
                "secret_file",
                "it does not hold whsec_ and base64 of 24 to 64 bytes: make one with: echo whsec_$(openssl rand -base64 32)"
                    .to_owned(),
            )
        })?;
        let client = Client::open(config).map_err(|what| setting("ca_file", what))?;
        Ok(Self { name: name.to_owned(), client, signer: Signer::new(key), not_before: Mutex::default() })
    }

    /// Posts one letter.
    async fn post(&self, letter: &Letter) -> Result<(), Why> {
        let headers = self.signer.headers(&letter.id, SystemClock.now(), &letter.body);
        let answer = self.client.post(headers, letter.body.clone()).await.map_err(Why::Unavailable)?;
        self.judge(answer.status, &answer.headers)
    }

    fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), Why> {
        let place = self.client.place();
        if status.is_success() {
            return Ok(());
        }
        if let Some(pause) = retry_after(headers) {
            *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + pause);
        }
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Err(Why::Unavailable(format!("{place} answers {status}: it is busy")))
            }
            status if status.is_client_error() => Err(Why::Poison(format!("{place} answers {status}"))),
            status if status.is_redirection() => Err(Why::Unavailable(format!(
                "{place} answers {status}, and redirects are not followed: put the address it leads to into url"
            ))),
            status => Err(Why::Unavailable(format!("{place} answers {status}: look at the receiver's log"))),
        }
    }

    /// How much longer the receiver wants to be left alone.
    fn pause_left(&self) -> Option<Duration> {
        let not_before = (*self.not_before.lock().unwrap_or_else(PoisonError::into_inner))?;
        not_before.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

#[async_trait]
impl EventSink for WebhookSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, letters: &[Letter]) -> Result<(), Undelivered> {
        for (delivered, letter) in letters.iter().enumerate() {
            if let Some(left) = self.pause_left() {
                let why = format!("{} asks to be left alone for {} s more", self.client.place(), left.as_secs() + 1);
                return Err(Undelivered { delivered, why: Why::Unavailable(why) });
            }
            self.post(letter).await.map_err(|why| Undelivered { delivered, why })?;
        }
        Ok(())
    }

    /// Connects, and asks nothing: a receiver may know no other call than an event.
    async fn ping(&self) -> Result<(), String> {
        self.client.connect().await.map(drop)
    }

    async fn examine(&self) -> Examined {
        let over = self.client.greet().await.map_err(Told::parse)?;
        Ok(Sound::new(format!("{} is there ({over}); no event was sent", self.client.place())))
    }
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3); its form as a date is rare and read as "not said".
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}
