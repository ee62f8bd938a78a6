//! People: they sign in, use what they signed in for, sometimes sign out, and write down what was acknowledged to them.
//!
//! What is refused (503, a connection that is cut) is tried anew, as people do. What must never happen is noticed here
//! at once: a session that was acknowledged and is answered as nobody's.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use brama::session::SessionId;
use tokio_util::sync::CancellationToken;

use crate::{
    browser::{Answer, Browser, Trouble},
    chance::Chance,
    ledger::{End, Entry, Ledger, Session, Span},
    provider::Provider,
    servers::gateway::Gateway,
};

/// How many sessions one of them keeps in mind to come back to.
const KEPT: usize = 20;
/// How often a browser is sent back to the provider within one login.
const HOPS: usize = 3;
/// How much of a session's key events show.
const NAME: usize = 16;

/// What all people share.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) gateways: Arc<[Gateway]>,
    /// By which they sign in, and which they link.
    pub(crate) providers: [Provider; 2],
    pub(crate) ledger: Ledger,
    /// The longest rest between two steps, in milliseconds.
    pub(crate) rest_ms: usize,
}

/// Goes on until `stop`.
pub(crate) async fn live(world: World, number: usize, seed: u64, stop: CancellationToken) {
    let mut person =
        Somebody { chance: Chance::of(seed, &format!("person {number}")), world, number, logins: 0, kept: Vec::new() };
    while !stop.is_cancelled() {
        person.visit().await;
    }
}

/// One loop: at any time one person, over time many.
struct Somebody {
    world: World,
    chance: Chance,
    number: usize,
    logins: usize,
    kept: Vec<Entry>,
}

impl Somebody {
    async fn visit(&mut self) {
        if let Some(entry) = self.sign_in().await {
            for _ in 0..self.chance.below(3) {
                self.rest().await;
                self.use_session(entry).await;
            }
            if self.chance.percent(15) && !self.link(entry).await {
                return;
            }
            if self.chance.percent(40) {
                self.rest().await;
                self.sign_out(entry).await;
            } else {
                self.kept.push(entry);
            }
        }
        if self.kept.len() > KEPT {
            let entry = self.kept.swap_remove(self.chance.below(KEPT));
            self.use_session(entry).await;
            if self.chance.percent(50) {
                self.sign_out(entry).await;
            }
        }
        self.rest().await;
    }

    async fn rest(&mut self) {
        tokio::time::sleep(self.chance.up_to_ms(self.world.rest_ms)).await;
    }

    fn gateway(&mut self) -> u16 {
        self.world.gateways[self.chance.below(self.world.gateways.len())].port
    }

    /// Mostly somebody new; else somebody who was here before, perhaps in another loop, perhaps at this very moment.
    fn who(&mut self) -> String {
        self.logins += 1;
        if self.chance.percent(60) {
            format!("p{}-{}", self.number, self.logins)
        } else {
            format!("s{}", self.chance.below(self.logins.div_ceil(4)))
        }
    }

    async fn sign_in(&mut self) -> Option<Entry> {
        let person = self.who();
        let number = u32::try_from(self.number * 100_000 + self.logins).expect("not so many logins");
        // 127.16.0.0 and up: no more than a few logins come from one address.
        let mut browser = Browser::at(Ipv4Addr::from(0x7f10_0000 + number / 16));
        let begun = self.world.ledger.now();
        let mut answer = self.ask(&mut browser, "start", "/oauth2/start/first?rd=/").await?;
        for _ in 0..HOPS {
            let Some(back) = answer.header("location").and_then(|to| self.world.providers[0].sign_in(to, &person))
            else {
                break;
            };
            let target = back[url::Position::BeforePath..].to_owned();
            answer = match self.ask(&mut browser, "callback", &target).await {
                // Somebody may well press "reload" then.
                None if self.chance.percent(50) => self.ask(&mut browser, "callback, again", &target).await?,
                answer => answer?,
            };
            if let Some(name) = name(&browser) {
                let login = Span { begun, acknowledged: self.world.ledger.now() };
                let (name_now, end) = (name.clone(), End::None);
                let session = Session { person, browser, name, name_now, account: None, login, linked: None, end };
                return Some(self.world.ledger.signed_in(session));
            }
        }
        self.world.ledger.refused("login", format_args!("{} without a session", answer.status));
        None
    }

    /// An answer that leads on; none when it is refused, which is noted.
    async fn ask(&mut self, browser: &mut Browser, what: &str, target: &str) -> Option<Answer> {
        let port = self.gateway();
        match browser.get(port, target).await {
            Ok(answer) if answer.status == 303 || answer.status == 302 => return Some(answer),
            Ok(answer) => self.world.ledger.refused(what, format_args!("{} {}", answer.status, title(&answer.body))),
            Err(trouble) => self.world.ledger.refused(what, trouble),
        }
        // Nobody hammers on a door that is shut.
        tokio::time::sleep(Duration::from_millis(20) + self.chance.up_to_ms(self.world.rest_ms)).await;
        None
    }

    async fn use_session(&mut self, entry: Entry) {
        let port = self.gateway();
        let mut session = self.world.ledger.session(entry);
        match session.browser.get(port, "/api/me").await {
            Ok(answer) if answer.status == 200 => match account(&answer) {
                Some(account) => self.world.ledger.used(entry, &account),
                None => self.wrong(&session, "was used, and the app was told nobody"),
            },
            Ok(answer) if answer.status == 503 => self.world.ledger.refused("use", answer.status),
            Ok(answer) => self.wrong(&session, &format!("was used, and answered with {}", answer.status)),
            Err(trouble) => self.world.ledger.refused("use", trouble),
        }
    }

    /// Links a further identity, which gives the session a new cookie. False when nobody knows which cookie is good now.
    async fn link(&mut self, entry: Entry) -> bool {
        let port = self.gateway();
        let mut session = self.world.ledger.session(entry);
        let (before, begun) = (session.name_now.clone(), self.world.ledger.now());
        let Some(target) = self.begin_link(port, &mut session).await else { return true };
        let identity = format!("l{}-{}", self.number, self.logins);
        let Some(back) = self.world.providers[1].sign_in(&target, &identity) else { return true };
        let answer = session.browser.get(self.gateway(), &back[url::Position::BeforePath..]).await;
        match (answer, name(&session.browser)) {
            (Ok(_), Some(name_now)) if name_now != before => {
                let span = Span { begun, acknowledged: self.world.ledger.now() };
                self.world.ledger.linked(entry, Session { name_now, linked: Some((identity, span)), ..session });
                return true;
            }
            (Err(Trouble::Unreachable), _) => {
                self.world.ledger.refused("link", Trouble::Unreachable);
                return true;
            }
            (Ok(answer), _) => self.world.ledger.refused("link, in doubt", answer.status),
            (Err(trouble), _) => self.world.ledger.refused("link, in doubt", trouble),
        }
        self.world.ledger.ends(entry, End::LinkInDoubt);
        false
    }

    /// From the account page to where the further provider is.
    async fn begin_link(&self, port: u16, session: &mut Session) -> Option<String> {
        let page = match session.browser.get(port, "/oauth2/account").await {
            Ok(page) if page.status == 200 => page,
            Ok(page) if page.status == 503 => return self.world.ledger.none_refused("link", page.status),
            Ok(page) => {
                self.wrong(session, &format!("asked for its account page, and was answered with {}", page.status));
                return None;
            }
            Err(trouble) => return self.world.ledger.none_refused("link", trouble),
        };
        let Some(token) = link_token(&page.body) else {
            self.wrong(session, "was shown no way to link");
            return None;
        };
        let start = format!("/oauth2/start/{}?link={token}", self.world.providers[1].name);
        match session.browser.get(port, &start).await {
            Ok(answer) if answer.status == 303 => answer.header("location").map(str::to_owned),
            Ok(answer) => self.world.ledger.none_refused("link", answer.status),
            Err(trouble) => self.world.ledger.none_refused("link", trouble),
        }
    }

    async fn sign_out(&mut self, entry: Entry) {
        let port = self.gateway();
        let mut session = self.world.ledger.session(entry);
        let token = match session.browser.get(port, "/oauth2/sign_out").await {
            Ok(page) if page.status == 200 => token(&page.body),
            Ok(page) if page.status == 503 => return self.world.ledger.refused("sign-out", page.status),
            Ok(page) => {
                return self.wrong(&session, &format!("asked to sign out, and was answered with {}", page.status));
            }
            Err(trouble) => return self.world.ledger.refused("sign-out", trouble),
        };
        let Some(token) = token else { return self.wrong(&session, "was shown no way to sign out") };
        let begun = self.world.ledger.now();
        let kept = session.browser.clone();
        match session.browser.post(port, "/oauth2/sign_out", &[("csrf", &token)]).await {
            Ok(answer) if answer.status == 303 => {
                let span = Span { begun, acknowledged: self.world.ledger.now() };
                self.world.ledger.ends(entry, End::Acknowledged(span));
                self.stays_out(kept, &session, port).await;
            }
            Ok(answer) if answer.status == 503 => self.in_doubt(entry, answer.status),
            Ok(answer) => self.wrong(&session, &format!("signed out, and was answered with {}", answer.status)),
            Err(Trouble::Unreachable) => self.world.ledger.refused("sign-out", Trouble::Unreachable),
            Err(Trouble::Cut) => self.in_doubt(entry, Trouble::Cut),
        }
    }

    fn in_doubt(&self, entry: Entry, answer: impl std::fmt::Display) {
        self.world.ledger.ends(entry, End::InDoubt);
        self.world.ledger.refused("sign-out, in doubt", answer);
    }

    /// Where somebody signed out, the old cookie must be worth nothing at once; other gateways hear of it.
    async fn stays_out(&mut self, mut old: Browser, session: &Session, port: u16) {
        if self.chance.percent(50)
            && let Ok(answer) = old.get(port, "/api/me").await
            && answer.status == 200
        {
            self.wrong(session, "was signed out, and still served");
        }
    }

    fn wrong(&self, session: &Session, what: &str) {
        self.world.ledger.wrong(format!("the session {} of {} {what}", session.name, session.person));
    }
}

/// The account the app was told.
pub(crate) fn account(answer: &Answer) -> Option<String> {
    let told: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
    told["user"].as_str().map(str::to_owned)
}

/// What events call the session that this browser holds.
fn name(browser: &Browser) -> Option<String> {
    let id = SessionId::parse(browser.session()?.as_bytes())?;
    Some(id.key().hex()[..NAME].to_owned())
}

/// What a page says it is.
fn title(page: &str) -> &str {
    let titled = page.split_once("<title>").and_then(|(_, after)| after.split_once("</title>"));
    titled.map_or("without a title", |(title, _)| title)
}

/// What proves that the account page was seen.
fn link_token(page: &str) -> Option<String> {
    let (_, after) = page.split_once("/oauth2/sign_in?link=")?;
    Some(after.split('"').next()?.replace("&#x2f;", "/").replace("&amp;", "&"))
}

/// The token of the form.
fn token(page: &str) -> Option<String> {
    let (_, after) = page.split_once("name=\"csrf\"")?;
    let (_, value) = after.split_once("value=\"")?;
    value.split('"').next().map(str::to_owned)
}
