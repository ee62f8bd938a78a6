//! The state of one simulator, shared by its connections and its owner.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    authorize::Asked,
    endpoint::{Endpoint, Fault},
    grants::{Grant, Grants, Rotation},
    imitation::Imitation,
    keys::{Keys, Signing, half_hash},
    lie::{self, Lie},
    message::{Params, Request},
    people::{People, Person},
};
use crate::{
    clock::{Clock, Timestamp},
    secret::{constant_time_eq, random_text},
};

/// What a simulator does that real providers do by setting, plan or mood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// What happens to refresh tokens in use.
    pub rotation: Rotation,
    /// How long access tokens live, in seconds.
    pub token_lifetime: u64,
    /// Whether token answers tell `expires_in`.
    pub tell_lifetime: bool,
    /// GitHub: tokens expire and can be refreshed (a GitHub App instead of an OAuth App).
    pub expiring_tokens: bool,
    /// Google: ID tokens name the issuer without its scheme.
    pub issuer_without_scheme: bool,
    /// Discovery promises `iss` on the callback and the callback has it (RFC 9207).
    pub issuer_on_callback: bool,
}

/// How the authorization endpoint finds out who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Approval {
    /// By its pages and its cookie.
    #[default]
    Ask,
    /// It is this person, and they consent.
    Approve(&'static Person),
    /// They refuse.
    Cancel,
}

/// A request a simulator has seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// What it was for: `authorize`, `discovery`, `token`, `refresh`, `exchange`, `userinfo`, `emails`, `groups`,
    /// `jwks`, `revoke`, `inspect`, `end_session`, `elsewhere` or `unknown`.
    pub endpoint: String,
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Decoded query parameters, in order.
    pub query: Vec<(String, String)>,
    /// Decoded form parameters, in order.
    pub form: Vec<(String, String)>,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as text, when it was no form.
    pub body: String,
    /// The answer's status.
    pub status: u16,
}

impl Call {
    /// The parameter of that name in the form, else in the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let named = |(key, _): &&(String, String)| key == name;
        self.form.iter().find(named).or_else(|| self.query.iter().find(named)).map(|(_, value)| value.as_str())
    }

    /// The header of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A login that waits for a click.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) asked: Asked,
    pub(super) person: Option<&'static Person>,
}

/// A signed-in browser.
#[derive(Debug, Clone)]
pub(super) struct Browser {
    pub(super) person: &'static Person,
    pub(super) sid: String,
    pub(super) since: Timestamp,
}

/// What changes while a simulator runs.
#[derive(Debug)]
pub(super) struct State {
    pub(super) redirect_uris: Vec<String>,
    pub(super) post_logout_uris: Vec<String>,
    pub(super) lie: Option<Lie>,
    pub(super) approval: Approval,
    pub(super) behaviour: Behaviour,
    pub(super) grants: Grants,
    pub(super) consents: HashSet<&'static str>,
    pub(super) browsers: HashMap<String, Browser>,
    pub(super) pending: HashMap<String, Pending>,
    calls: VecDeque<Call>,
}

/// One simulator's all.
#[derive(Debug)]
pub(super) struct World {
    pub(super) imitation: Box<dyn Imitation>,
    /// Scheme, host and port, without a slash at the end.
    pub(super) base: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) keys: Keys,
    clock: Box<dyn Clock>,
    state: Mutex<State>,
}

/// How a client may prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuth {
    Basic,
    Post,
    Either,
}

/// Calls, browsers and pending logins kept.
const MOST_KEPT: usize = 2000;

impl World {
    pub(super) fn new(
        imitation: Box<dyn Imitation>,
        base: String,
        registration: super::Registration,
        clock: Box<dyn Clock>,
    ) -> Self {
        let state = State {
            redirect_uris: registration.redirect_uris,
            post_logout_uris: registration.post_logout_uris,
            lie: None,
            approval: Approval::Ask,
            behaviour: imitation.behaviour(),
            grants: Grants::default(),
            consents: HashSet::new(),
            browsers: HashMap::new(),
            pending: HashMap::new(),
            calls: VecDeque::new(),
        };
        Self {
            imitation,
            base,
            client_id: registration.client_id,
            client_secret: registration.client_secret,
            keys: Keys::default(),
            clock,
            state: Mutex::new(state),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lies(&self, lie: &Lie) -> bool {
        self.state().lie.as_ref() == Some(lie)
    }

    pub(super) fn behaviour(&self) -> Behaviour {
        self.state().behaviour.clone()
    }

    /// An address of this simulator.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Whether the client has proved itself in a way the provider takes (RFC 6749, 2.3).
    pub(super) fn authenticate(&self, request: &Request, params: &Params, accepted: ClientAuth) -> Result<(), Fault> {
        let basic = request.basic();
        let posted = params.get("client_secret");
        let (id, secret) = match (accepted, basic, posted) {
            (_, Some(_), Some(_)) => return Err(Fault::BadRequest("more than one client authentication")),
            (ClientAuth::Basic | ClientAuth::Either, Some(pair), None) => pair,
            (ClientAuth::Post | ClientAuth::Either, None, Some(secret)) => {
                (params.get("client_id").unwrap_or_default().to_owned(), secret.to_owned())
            }
            _ => return Err(Fault::MissingClient),
        };
        let known = id == self.client_id && constant_time_eq(secret.as_bytes(), self.client_secret.as_bytes());
        if known { Ok(()) } else { Err(Fault::WrongClient) }
    }

    /// Redeems the code in a token request.
    pub(super) fn redeem(&self, params: &Params) -> Result<Grant, Fault> {
        let code = params.get("code").ok_or(Fault::BadRequest("code is missing"))?;
        let now = self.now();
        self.state().grants.redeem(code, params.get("redirect_uri"), params.get("code_verifier"), now)
    }

    /// Uses the refresh token in a token request; with it the token to answer with, if a new one is due.
    pub(super) fn renew(
        &self,
        params: &Params,
        new_token: impl Fn() -> String,
    ) -> Result<(Grant, Option<String>), Fault> {
        let token = params.get("refresh_token").ok_or(Fault::BadRequest("refresh_token is missing"))?;
        let now = self.now();
        let mut state = self.state();
        let rotation = state.behaviour.rotation;
        let (mut grant, due) = state.grants.renew(token, rotation, now)?;
        let fresh = due.then(|| {
            let token = new_token();
            state.grants.refresh(&token, &grant);
            token
        });
        if state.lie == Some(Lie::RefreshChangesSub) {
            let other = People::all().iter().find(|person| person.id != grant.person.id);
            grant.person = other.unwrap_or(grant.person);
        }
        Ok((grant, fresh))
    }

    /// Makes an access token live for as long as the behaviour says, or for `lifetime`.
    pub(super) fn give_access(&self, token: &str, grant: &Grant, lifetime: Option<Duration>) {
        let now = self.now();
        self.state().grants.access(token, grant, now, lifetime);
    }

    /// Makes a refresh token live, if the grant has one.
    pub(super) fn give_refresh(&self, prefix: &str, grant: &Grant) -> Option<String> {
        grant.refreshable.then(|| {
            let token = format!("{prefix}{}", random_text());
            self.state().grants.refresh(&token, grant);
            token
        })
    }

    /// Whose access token it is.
    pub(super) fn holder(&self, token: Option<&str>) -> Result<Grant, Fault> {
        let now = self.now();
        self.state().grants.holder(token.ok_or(Fault::DeadAccess)?, now).map(|(grant, ..)| grant.clone())
    }

    /// An ID token over `claims` and the claims every one has, spoilt when a lie says so. Times are in seconds.
    pub(super) fn id_token(&self, issuer: &str, grant: &Grant, access_token: &str, claims: Value) -> String {
        let now = self.now().as_secs();
        let mut all = json!({
            "iss": issuer,
            "aud": self.client_id,
            "sub": self.imitation.subject(grant.person),
            "iat": now,
            "exp": now + 3600,
            "at_hash": half_hash(access_token),
        });
        if let (Value::Object(all), Value::Object(more)) = (&mut all, claims) {
            all.extend(more);
            if let Some(nonce) = &grant.nonce {
                all.insert("nonce".into(), json!(nonce));
            }
        }
        let Value::Object(mut all) = all else { return String::new() };
        let lie = self.state().lie.clone();
        if let Some(lie) = &lie {
            spoil(lie, &mut all, &self.client_id, now);
        }
        let text = match lie {
            Some(Lie::DuplicateClaims) => lie::doubled(&all),
            _ => Value::Object(all).to_string(),
        };
        self.keys.jws("JWT", &text, self.signing(lie.as_ref()))
    }

    fn signing(&self, lie: Option<&Lie>) -> Signing<'_> {
        match lie {
            Some(Lie::AlgNone) => Signing::Unsigned,
            Some(Lie::AlgHs256Secret) => Signing::HmacSecret(&self.client_secret),
            Some(Lie::AlgHs256PublicKey) => Signing::HmacPublicKey,
            Some(Lie::UnknownKid) => Signing::UnknownKid,
            Some(Lie::WrongKey) => Signing::WrongKey,
            _ => Signing::Honest,
        }
    }

    /// Keeps a request for [`Simulator::calls`](super::Simulator::calls).
    pub(super) fn record(&self, endpoint: Endpoint, request: &Request, status: u16) {
        let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let body =
            if request.form.0.is_empty() { String::from_utf8_lossy(&request.body).into_owned() } else { String::new() };
        let call = Call {
            endpoint: endpoint.name().to_owned(),
            method: request.method.to_string(),
            path: request.path.clone(),
            query: request.query.0.clone(),
            form: request.form.0.clone(),
            headers: request.headers.iter().map(header).collect(),
            body,
            status,
        };
        let mut state = self.state();
        if state.calls.len() >= MOST_KEPT {
            state.calls.pop_front();
        }
        state.calls.push_back(call);
    }

    pub(super) fn calls(&self, endpoint: Option<&str>) -> Vec<Call> {
        let wanted = |call: &&Call| endpoint.is_none_or(|name| call.endpoint == name);
        self.state().calls.iter().filter(wanted).cloned().collect()
    }

    pub(super) fn forget_calls(&self) {
        self.state().calls.clear();
    }

    /// Remembers a login that waits for a click, under a name for its form.
    pub(super) fn wait(&self, pending: Pending) -> String {
        let mut state = self.state();
        if state.pending.len() >= MOST_KEPT {
            state.pending.clear();
        }
        let name = random_text();
        state.pending.insert(name.clone(), pending);
        name
    }

    /// Signs a browser in; with it the value of its cookie.
    pub(super) fn sign_in(&self, person: &'static Person) -> (String, Browser) {
        let browser = Browser { person, sid: random_text(), since: self.now() };
        let mut state = self.state();
        if state.browsers.len() >= MOST_KEPT {
            state.browsers.clear();
        }
        let cookie = random_text();
        state.browsers.insert(cookie.clone(), browser.clone());
        (cookie, browser)
    }

    /// The browser a request comes from, if it is signed in.
    pub(super) fn browser(&self, request: &Request) -> Option<Browser> {
        let cookie = request.cookie(&self.cookie_name())?;
        self.state().browsers.get(cookie).cloned()
    }

    /// Signs a browser out and ends the tokens of its session where `tokens_too`.
    pub(super) fn sign_out(&self, request: &Request, tokens_too: bool) {
        let Some(cookie) = request.cookie(&self.cookie_name()) else { return };
        let mut state = self.state();
        if let Some(browser) = state.browsers.remove(cookie)
            && tokens_too
        {
            state.grants.kill_all(|grant| grant.sid == browser.sid);
        }
    }

    /// Cookies on one host are shared over all ports, so the name tells whose it is.
    pub(super) fn cookie_name(&self) -> String {
        format!("simulated_{}", self.imitation.look().word)
    }
}

/// Changes claims so that they are wrong in exactly one way.
fn spoil(lie: &Lie, claims: &mut Map<String, Value>, client_id: &str, now: i64) {
    let mut set = |name: &str, value: Value| {
        claims.insert(name.to_owned(), value);
    };
    match lie {
        Lie::WrongIss => set("iss", json!("https://issuer.invalid")),
        Lie::WrongAud => set("aud", json!("another-client")),
        Lie::ExtraAud => {
            set("aud", json!([client_id, "another-client"]));
            set("azp", json!(client_id));
        }
        Lie::WrongAzp => set("azp", json!("another-client")),
        Lie::WrongNonce => set("nonce", json!("a-nonce-nobody-sent")),
        Lie::MissingNonce => {
            claims.remove("nonce");
        }
        Lie::Expired => {
            set("iat", json!(now - 301));
            set("exp", json!(now - 300));
        }
        Lie::FutureIat => {
            set("iat", json!(now + 3600));
            set("exp", json!(now + 7200));
        }
        Lie::FutureNbf => set("nbf", json!(now + 3600)),
        Lie::OldIat => set("iat", json!(now - 86_400)),
        Lie::WrongAtHash => set("at_hash", json!(half_hash("another token"))),
        Lie::SubNumber => set("sub", json!(12_345)),
        Lie::SubEmpty => set("sub", json!("")),
        _ => {}
    }
}
