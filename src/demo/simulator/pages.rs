//! The pages of a simulated provider: who are you, do you allow it, what went wrong.
//!
//! Each provider has colours and a shape of its own; none copies a real page or logo, and every page says that it is a
//! simulation. No scripts, nothing loaded from elsewhere.

use http::{StatusCode, header};

use super::{
    authorize::Asked,
    message::{Reply, Request, escape},
    people::{People, Person},
    world::World,
};

/// How a provider's pages look.
#[derive(Debug)]
pub(super) struct Look {
    /// Its kind, as in the configuration.
    pub(super) word: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// What it says above the list of people.
    pub(super) greeting: &'static str,
    /// What its consent button says.
    pub(super) allow: &'static str,
    /// Colours and shape as CSS custom properties, for light and for dark screens, then rules of its own.
    pub(super) css: &'static str,
}

const CSS: &str = include_str!("pages.css");

/// Who are you?
pub(super) fn sign_in(world: &World, asked: &Asked, hinted: Option<&Person>, pending: &str) -> Reply {
    let look = world.imitation.look();
    let mut people: Vec<&Person> = People::all().iter().collect();
    people.sort_by_key(|person| Some(*person) != hinted);
    let unknown = match (&asked.login_hint, hinted) {
        (Some(hint), None) => format!("<p class=note>Nobody here is called “{}”.</p>", escape(hint)),
        _ => String::new(),
    };
    let buttons: String = people.iter().map(|person| button(world, person, Some(*person) == hinted)).collect();
    let body = format!(
        "<h1>{greeting}</h1><p class=lead>to continue to <b>{client}</b></p>{unknown}\
         <form method=post action=/_sign_in><input type=hidden name=pending value=\"{pending}\">\
         <ul class=people>{buttons}</ul>\
         <div class=actions><button class=plain name=cancel value=1>Cancel</button></div></form>",
        greeting = escape(look.greeting),
        client = escape(&world.client_id),
    );
    page(world, StatusCode::OK, "Sign in", &body)
}

fn button(world: &World, person: &Person, hinted: bool) -> String {
    let address = person.email.map_or_else(|| "no e-mail address".to_owned(), str::to_owned);
    format!(
        "<li><button name=person value=\"{id}\"{focus}><span class=face style=\"--hue:{hue}\" aria-hidden=true>{initial}</span>\
         <span class=who><b>{name}</b><span>{address}</span><small>{remark}</small></span></button></li>",
        id = person.id,
        focus = if hinted { " class=hinted autofocus" } else { "" },
        hue = world.imitation.subject(person).bytes().map(u32::from).sum::<u32>() * 47 % 360,
        initial = person.given_name.chars().next().unwrap_or('?'),
        name = escape(&person.name()),
        address = escape(&address),
        remark = escape(person.remark),
    )
}

/// Do you allow it?
pub(super) fn consent(world: &World, asked: &Asked, person: &Person, pending: &str) -> Reply {
    let look = world.imitation.look();
    let scopes: String = asked.scopes.iter().map(|scope| scope_line(scope)).collect();
    let scopes = if scopes.is_empty() { scope_line("") } else { scopes };
    let body = format!(
        "<h1>{client} wants to know who you are</h1><p class=lead>Signed in as <b>{name}</b></p>\
         <p>It asks {provider} for:</p><ul class=scopes>{scopes}</ul>\
         <form method=post action=/_consent><input type=hidden name=pending value=\"{pending}\">\
         <div class=actions><button class=plain name=cancel value=1>Cancel</button>\
         <button class=main name=allow value=1 autofocus>{allow}</button></div>\
         <p class=other><button class=link name=other value=1>Not {given}? Use another account</button></p></form>",
        client = escape(&world.client_id),
        name = escape(&person.name()),
        provider = escape(look.name),
        allow = escape(look.allow),
        given = escape(person.given_name),
    );
    page(world, StatusCode::OK, "Allow access", &body)
}

fn scope_line(scope: &str) -> String {
    let meaning = match scope {
        "openid" => "a statement of who you are",
        "profile" | "public_profile" | "users.read" | "read:user" | "" => "your name and picture",
        "email" | "user:email" | "users.email" => "your e-mail address",
        "offline_access" | "offline.access" => "to stay signed in while you are away",
        "tweet.read" => "your public posts",
        "read:org" | "groups" => "the groups you belong to",
        _ => "more about you",
    };
    format!("<li>{meaning} <code>{}</code></li>", escape(scope))
}

/// What went wrong, on the provider's own page.
pub(super) fn refused(world: &World, error: &str, why: &str) -> Reply {
    let body = format!(
        "<h1>This sign-in cannot go on</h1><p class=lead>{}</p><p>Error <code>{}</code>. The app that sent you here has to be \
         put right; there is nothing you can do on this page.</p>",
        escape(why),
        escape(error)
    );
    page(world, StatusCode::BAD_REQUEST, "Error", &body)
}

/// What this server is, for who opens its address.
pub(super) fn front(world: &World, request: &Request) -> Reply {
    let who = world.browser(request).map_or_else(
        || "Nobody is signed in here in this browser.".to_owned(),
        |browser| format!("Signed in here in this browser: <b>{}</b>.", escape(&browser.person.name())),
    );
    let count = world.calls(None).len();
    let body = format!(
        "<p class=lead>{who}</p><p>{count} requests seen. Apps send people here to sign in; there is nothing else.</p>"
    );
    message(world, &format!("A simulated {}", world.imitation.look().name), &body)
}

/// A question or a message with markup of its own.
pub(super) fn message(world: &World, title: &str, body: &str) -> Reply {
    page(world, StatusCode::OK, title, &format!("<h1>{}</h1>{body}", escape(title)))
}

fn page(world: &World, status: StatusCode, title: &str, body: &str) -> Reply {
    let look = world.imitation.look();
    let name = escape(look.name);
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <meta name=color-scheme content=\"light dark\"><title>{title} – simulated {name}</title>\
         <style>{CSS}{css}</style><body class={word}><main><header><span class=mark>{name}</span>\
         <span class=badge>simulated</span></header>{body}</main>\
         <footer>A simulation on your own machine. No real {name} account is involved, and nobody here is real.</footer></body></html>",
        title = escape(title),
        css = look.css,
        word = look.word,
    );
    Reply::new(status, "text/html; charset=utf-8", html)
        .with(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
        )
        .with(header::REFERRER_POLICY, "no-referrer")
        .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}
