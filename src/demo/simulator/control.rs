//! `/_control` and `/_calls`: a simulator steered and watched from another process, by JSON.
//!
//! `POST /_control` takes any of these members and answers with the state that follows:
//!
//! | Member | Meaning |
//! |---|---|
//! | `"lie"` | a [`Lie`], or `null` for the truth |
//! | `"auto_approve"` | the short name of who signs in without a page, or `null` for the pages |
//! | `"auto_cancel"` | `true`: whoever comes refuses |
//! | `"behaviour"` | members of [`Behaviour`] to change |
//! | `"rotate_keys"` | `true`: sign with a new key from now on |
//! | `"sign_out_all"` | `true`: forget browsers and consents |
//! | `"end_grants"` | the short name of whose tokens all die |
//! | `"forget_calls"` | `true`: start counting anew |
//!
//! `GET /_calls?name=token` answers with the requests seen. The content type must be `application/json`, which no web
//! page elsewhere can send here without being asked first.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    lie::Lie,
    message::{Reply, Request},
    people::People,
    world::{Approval, Behaviour, World},
};

pub(super) const CONTROL: &str = "/_control";
pub(super) const CALLS: &str = "/_calls";

pub(super) fn answer(request: &Request, world: &World) -> Reply {
    match (&request.method, request.path.as_str()) {
        (&Method::GET, CALLS) => Reply::ok(&json!(world.calls(request.query.get("name")))),
        (&Method::GET, CONTROL) => Reply::ok(&state(world)),
        (&Method::POST, CONTROL) if request.is("application/json") => match apply(&request.body, world) {
            Ok(()) => Reply::ok(&state(world)),
            Err(why) => Reply::json(StatusCode::BAD_REQUEST, &json!({ "error": why })),
        },
        _ => Reply::json(StatusCode::BAD_REQUEST, &json!({"error": "POST application/json here, or GET"})),
    }
}

fn state(world: &World) -> Value {
    let state = world.state();
    let (approve, cancel) = match state.approval {
        Approval::Ask => (None, false),
        Approval::Approve(person) => (Some(person.id), false),
        Approval::Cancel => (None, true),
    };
    json!({
        "kind": world.imitation.look().word, "lie": state.lie, "auto_approve": approve, "auto_cancel": cancel,
        "behaviour": state.behaviour, "people": People::all().iter().map(|person| person.id).collect::<Vec<_>>(),
    })
}

/// Applies all of the wishes or, when one of them makes no sense, none.
fn apply(body: &[u8], world: &World) -> Result<(), String> {
    let wishes: Map<String, Value> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut actions: Vec<Box<dyn Fn() + '_>> = Vec::new();
    for (name, value) in wishes {
        actions.push(action(&name, value, world)?);
    }
    actions.iter().for_each(|action| action());
    Ok(())
}

fn action<'a>(name: &str, value: Value, world: &'a World) -> Result<Box<dyn Fn() + 'a>, String> {
    let yes = value == json!(true);
    Ok(match name {
        "lie" => {
            let lie: Option<Lie> = serde_json::from_value(value).map_err(|error| error.to_string())?;
            Box::new(move || world.state().lie.clone_from(&lie))
        }
        "auto_approve" => {
            let approval = match value.as_str() {
                Some(id) => Approval::Approve(People::find(id).ok_or_else(|| format!("nobody is called {id}"))?),
                None => Approval::Ask,
            };
            Box::new(move || world.state().approval = approval)
        }
        "auto_cancel" => {
            let approval = if yes { Approval::Cancel } else { Approval::Ask };
            Box::new(move || world.state().approval = approval)
        }
        "behaviour" => {
            let behaviour = changed(&world.behaviour(), value)?;
            Box::new(move || world.state().behaviour.clone_from(&behaviour))
        }
        "end_grants" => {
            let id = value.as_str().ok_or("end_grants takes a name")?.to_owned();
            Box::new(move || world.state().grants.kill_all(|grant| grant.person.id == id))
        }
        "rotate_keys" if yes => Box::new(|| world.keys.rotate()),
        "sign_out_all" if yes => Box::new(|| {
            let mut state = world.state();
            state.browsers.clear();
            state.consents.clear();
        }),
        "forget_calls" if yes => Box::new(|| world.forget_calls()),
        _ => return Err(format!("there is no {name} like that")),
    })
}

fn changed(behaviour: &Behaviour, changes: Value) -> Result<Behaviour, String> {
    let mut all = json!(behaviour);
    if let (Value::Object(all), Value::Object(changes)) = (&mut all, changes) {
        all.extend(changes);
    }
    serde_json::from_value(all).map_err(|error| error.to_string())
}
