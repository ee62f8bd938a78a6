//! The authorization endpoint all simulators share: who is it, do they consent, back to the callback.
//!
//! A browser that signed in before comes straight back, as with real providers; so does one whose answer a test has
//! fixed. Otherwise the provider's own pages ask. A request that names an unknown client or redirect URI gets an error
//! page and never a redirect (RFC 6749, 4.1.2.1).

use http::{Method, StatusCode, header};
use url::Url;

use super::{
    grants::{Grant, Grants},
    lie::Lie,
    message::{Reply, Request},
    pages,
    people::{People, Person},
    world::{Approval, Browser, Pending, World},
};

/// A checked authorization request.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) nonce: Option<String>,
    pub(super) challenge: Option<String>,
    pub(super) login_hint: Option<String>,
    pub(super) prompts: Vec<String>,
    /// Google's way to ask for a refresh token.
    pub(super) access_type_offline: bool,
}

/// Why an authorization request is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// On the provider's own page: nothing can be believed about where to go back to.
    Page(&'static str, String),
    /// At the callback.
    Callback(Box<Asked>, &'static str, &'static str),
}

impl Asked {
    /// The checks all providers make; scopes are split at `separator` and at spaces.
    pub(super) fn read(request: &Request, world: &World, separator: char) -> Result<Self, Refusal> {
        let page = |error, why: &str| Err(Refusal::Page(error, why.to_owned()));
        let params = if request.method == Method::POST { &request.form } else { &request.query };
        if let Some(name) = params.repeated() {
            return page("invalid_request", &format!("the parameter {name} is there more than once"));
        }
        if params.get("client_id") != Some(&world.client_id) {
            return page("invalid_client", "no client is registered under this client_id");
        }
        let redirect_uri = params.get("redirect_uri").unwrap_or_default().to_owned();
        // Byte for byte (RFC 9700, 4.1.3).
        if !world.state().redirect_uris.contains(&redirect_uri) {
            return page("redirect_uri_mismatch", &format!("the redirect_uri “{redirect_uri}” is not registered"));
        }
        let text = |name: &str| params.get(name).map(str::to_owned);
        let words = |name: &str, separator: char| {
            let value = params.get(name).unwrap_or_default();
            value.split([separator, ' ']).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        };
        let asked = Self {
            redirect_uri,
            state: text("state"),
            scopes: words("scope", separator),
            nonce: text("nonce"),
            challenge: text("code_challenge"),
            login_hint: text("login_hint").or_else(|| text("login")),
            prompts: words("prompt", ' '),
            access_type_offline: params.get("access_type") == Some("offline"),
        };
        if params.get("response_type") != Some("code") {
            return Err(asked.refused("unsupported_response_type", "only response_type=code"));
        }
        // Only S256 (RFC 9700, 2.1.1); a method that is left out would mean "plain" (RFC 7636, 4.3).
        let method = params.get("code_challenge_method");
        match &asked.challenge {
            Some(_) if method != Some("S256") => {
                Err(asked.refused("invalid_request", "code_challenge_method must be S256"))
            }
            Some(challenge) if challenge.len() != 43 => {
                Err(asked.refused("invalid_request", "an S256 code_challenge has 43 characters"))
            }
            None if method.is_some() => Err(asked.refused("invalid_request", "code_challenge is missing")),
            _ => Ok(asked),
        }
    }

    pub(super) fn refused(&self, error: &'static str, why: &'static str) -> Refusal {
        Refusal::Callback(Box::new(self.clone()), error, why)
    }

    pub(super) fn prompts(&self, word: &str) -> bool {
        self.prompts.iter().any(|prompt| prompt == word)
    }
}

/// Answers an authorization request.
pub(super) fn begin(request: &Request, world: &World) -> Reply {
    let asked = match world.imitation.asked(request, world) {
        Ok(asked) => asked,
        Err(Refusal::Page(error, why)) => return pages::refused(world, error, &why),
        Err(Refusal::Callback(asked, error, why)) => {
            return back(world, &asked, &[("error", error), ("error_description", why)]);
        }
    };
    if world.lies(&Lie::PlatformError) {
        return back(world, &asked, &world.imitation.platform_error());
    }
    let approval = world.state().approval;
    match approval {
        Approval::Cancel => back(world, &asked, &world.imitation.denial()),
        Approval::Approve(person) => approve_unseen(world, &asked, person),
        Approval::Ask => ask(world, &asked, world.browser(request)),
    }
}

fn approve_unseen(world: &World, asked: &Asked, person: &'static Person) -> Reply {
    let first = !world.state().consents.contains(person.id);
    let browser = Browser { person, sid: crate::secret::random_text(), since: world.now() };
    approve(world, asked, &browser, first || asked.prompts("consent"))
}

/// Decides between an answer at once and a page, as the person's cookie and `prompt` (OpenID Connect Core, 3.1.2.1) say.
fn ask(world: &World, asked: &Asked, browser: Option<Browser>) -> Reply {
    let hinted =
        asked.login_hint.as_deref().and_then(|hint| People::hinted(hint, |person| world.imitation.subject(person)));
    // A hint that means somebody else than who is signed in cannot be answered by the cookie.
    let browser = browser.filter(|browser| hinted.is_none_or(|person| person == browser.person));
    let consented = browser
        .as_ref()
        .is_some_and(|browser| !world.imitation.asks_consent() || world.state().consents.contains(browser.person.id));
    if asked.prompts("none") && world.imitation.answers_silently() {
        return match browser {
            Some(browser) if consented => approve(world, asked, &browser, false),
            Some(_) => back(world, asked, &[("error", "consent_required")]),
            None => back(world, asked, &[("error", "login_required")]),
        };
    }
    let choose = asked.prompts("select_account") || asked.prompts("login");
    match browser {
        Some(browser) if consented && !choose && !asked.prompts("consent") => approve(world, asked, &browser, false),
        Some(browser) if !choose => {
            let pending = world.wait(Pending { asked: asked.clone(), person: Some(browser.person) });
            pages::consent(world, asked, browser.person, &pending)
        }
        _ => {
            let pending = world.wait(Pending { asked: asked.clone(), person: None });
            pages::sign_in(world, asked, hinted, &pending)
        }
    }
}

/// A click on the sign-in page.
pub(super) fn signed_in(request: &Request, world: &World) -> Reply {
    let Some((name, pending)) = clicked(request, world) else {
        return pages::refused(world, "expired", "this page has been used already; go back to the app and start again");
    };
    if request.form.get("cancel").is_some() {
        return back(world, &pending.asked, &world.imitation.denial());
    }
    let Some(person) = request.form.get("person").and_then(People::find) else {
        return pages::refused(world, "invalid_request", "nobody was chosen");
    };
    let (cookie, browser) = world.sign_in(person);
    let cookie = format!("{}={cookie}; Path=/; HttpOnly; SameSite=Lax", world.cookie_name());
    let consented = world.state().consents.contains(person.id) && !pending.asked.prompts("consent");
    let reply = if consented || !world.imitation.asks_consent() {
        approve(world, &pending.asked, &browser, false)
    } else {
        let asked = pending.asked.clone();
        world.state().pending.insert(name.clone(), Pending { asked, person: Some(person) });
        pages::consent(world, &pending.asked, person, &name)
    };
    reply.with(header::SET_COOKIE, &cookie)
}

/// A click on the consent page.
pub(super) fn consented(request: &Request, world: &World) -> Reply {
    let Some((_, pending)) = clicked(request, world) else {
        return pages::refused(world, "expired", "this page has been used already; go back to the app and start again");
    };
    if request.form.get("other").is_some() {
        let name = world.wait(Pending { asked: pending.asked.clone(), person: None });
        return pages::sign_in(world, &pending.asked, None, &name);
    }
    if request.form.get("allow").is_none() {
        return back(world, &pending.asked, &world.imitation.denial());
    }
    // The consent counts for who is signed in in this browser, not for who a form names.
    match (pending.person, world.browser(request)) {
        (Some(person), Some(browser)) if browser.person == person => approve(world, &pending.asked, &browser, true),
        _ => pages::refused(world, "expired", "somebody else has signed in meanwhile; start again"),
    }
}

fn clicked(request: &Request, world: &World) -> Option<(String, Pending)> {
    let name = request.form.get("pending")?;
    world.state().pending.remove(name).map(|pending| (name.to_owned(), pending))
}

/// Sends the browser back with a code.
fn approve(world: &World, asked: &Asked, browser: &Browser, consent_shown: bool) -> Reply {
    let mut state = world.state();
    state.consents.insert(browser.person.id);
    let grant = Grant {
        family: Grants::family(),
        person: browser.person,
        scopes: asked.scopes.clone(),
        nonce: asked.nonce.clone(),
        auth_time: browser.since,
        sid: browser.sid.clone(),
        refreshable: world.imitation.refreshable(asked, consent_shown, &state.behaviour),
    };
    let expires = world.now().plus(world.imitation.code_lifetime());
    let code = state.grants.code(grant, &asked.redirect_uri, asked.challenge.clone(), expires);
    let twice = state.lie == Some(Lie::CallbackDuplicateCode);
    drop(state);
    if twice {
        return back(world, asked, &[("code", "another-code"), ("code", &code)]);
    }
    back(world, asked, &[("code", &code)])
}

/// Redirects to the callback with the answer, the state and, where promised, the issuer (RFC 9207, 2).
fn back(world: &World, asked: &Asked, answer: &[(&str, &str)]) -> Reply {
    let Ok(mut url) = Url::parse(&asked.redirect_uri) else {
        return Reply::empty(StatusCode::BAD_REQUEST);
    };
    let (lie, promised) = {
        let state = world.state();
        (state.lie.clone(), state.behaviour.issuer_on_callback)
    };
    url.query_pairs_mut().extend_pairs(answer);
    let state = if lie == Some(Lie::CallbackWrongState) { Some("a-state-nobody-sent") } else { asked.state.as_deref() };
    if let Some(state) = state {
        url.query_pairs_mut().append_pair("state", state);
    }
    let issuer = match lie {
        Some(Lie::CallbackWrongIss) => Some("https://issuer.invalid".to_owned()),
        Some(Lie::CallbackMissingIss) => None,
        _ => promised.then(|| world.imitation.issuer(&world.base)),
    };
    if let Some(issuer) = issuer {
        url.query_pairs_mut().append_pair("iss", &issuer);
    }
    url.set_fragment(world.imitation.fragment());
    Reply::see_other(url.as_str())
}
