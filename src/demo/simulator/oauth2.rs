//! A simulated plain OAuth 2.0 service with a JSON profile: no discovery, no ID token, a subject under `id`.

use std::time::Duration;

use serde_json::json;

use super::{
    authorize::Asked,
    endpoint::{Endpoint, Fault},
    grants::Rotation,
    imitation::{Imitation, check_token_request, quoted, token_use},
    message::{Reply, Request},
    pages::Look,
    people::Person,
    world::{Behaviour, ClientAuth, World},
};
use crate::secret::random_text;

#[derive(Debug)]
pub(super) struct OAuth2;

const LOOK: Look = Look {
    word: "oauth2",
    name: "Plainbook",
    greeting: "Welcome back to Plainbook",
    allow: "Allow",
    css: ":root{--brand:#0b7a75;--round:4px;--button:4px;--paper:#f7f2e8;--font:Georgia,\"Noto Serif\",serif}\
          main{border-width:2px}.mark{font-style:italic}.face{border-radius:4px}\
          @media(prefers-color-scheme:dark){:root{--brand:#5fd3cb;--on-brand:#032322;--paper:#1a1814;--card:#24211b}}",
};

impl Imitation for OAuth2 {
    fn look(&self) -> &'static Look {
        &LOOK
    }

    fn behaviour(&self) -> Behaviour {
        Behaviour {
            rotation: Rotation::Off,
            token_lifetime: 3600,
            tell_lifetime: true,
            expiring_tokens: true,
            issuer_without_scheme: false,
            issuer_on_callback: false,
        }
    }

    fn subject(&self, person: &Person) -> String {
        person.digits("pb-")
    }

    fn subject_pointer(&self) -> &'static str {
        "/id"
    }

    fn refreshable(&self, _: &Asked, _: bool, _: &Behaviour) -> bool {
        true
    }

    fn endpoint(&self, request: &Request) -> Endpoint {
        match request.path.as_str() {
            "/authorize" => Endpoint::Authorize,
            "/token" => token_use(&request.form),
            "/me" => Endpoint::Profile,
            _ => Endpoint::Unknown,
        }
    }

    fn answer(&self, endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
        match endpoint {
            Endpoint::Token | Endpoint::Refresh => token(endpoint, request, world),
            Endpoint::Profile => {
                let person = world.holder(request.bearer())?.person;
                Ok(Reply::ok(&json!({
                    "id": self.subject(person), "name": person.name(), "preferred_username": person.username,
                    "email": person.email, "email_verified": person.email_verified, "groups": person.groups,
                    "locale": person.locale, "picture": null,
                })))
            }
            _ => Err(Fault::NotFound),
        }
    }

    fn settings(&self, base: &str) -> Vec<(&'static str, String)> {
        vec![
            ("authorize_url", quoted(format!("{base}/authorize"))),
            ("token_url", quoted(format!("{base}/token"))),
            ("userinfo_url", quoted(format!("{base}/me"))),
            ("subject_claim", quoted("id")),
            ("groups_claim", quoted("groups")),
            ("scopes", "[\"profile\", \"email\"]".to_owned()),
        ]
    }
}

fn token(endpoint: Endpoint, request: &Request, world: &World) -> Result<Reply, Fault> {
    check_token_request(request)?;
    world.authenticate(request, &request.form, ClientAuth::Either)?;
    let (grant, refresh) = match endpoint {
        Endpoint::Refresh => world.renew(&request.form, random_text)?,
        _ => {
            let grant = world.redeem(&request.form)?;
            let refresh = world.give_refresh("", &grant);
            (grant, refresh)
        }
    };
    let behaviour = world.behaviour();
    let access = random_text();
    world.give_access(&access, &grant, Some(Duration::from_secs(behaviour.token_lifetime)));
    let mut answer = json!({"access_token": access, "token_type": "Bearer"});
    if let Some(answer) = answer.as_object_mut() {
        if behaviour.tell_lifetime {
            answer.insert("expires_in".into(), json!(behaviour.token_lifetime));
        }
        if let Some(refresh) = refresh {
            answer.insert("refresh_token".into(), json!(refresh));
        }
    }
    Ok(Reply::ok(&answer))
}
