//! `bench-sessions`: writes sessions straight into the store that a configuration names, as many as asked for.
//!
//! A million real logins would take an hour; what is measured is how sessions are found, not how they are begun. The
//! records are what a sign-in at a large provider leaves, Google's for example: names, a picture, groups, some claims; the
//! browser; 1.5 KB of sealed tokens. (`session::resting` has a test by the same measure.) Run it before the gateway
//! starts: the two share the database and the sealing key.
//!
//! Prints the name of the session cookie. The file of ids holds one a line, 43 characters each.

use std::{fs::File, io::Write as _, path::PathBuf, time::Duration};

use anyhow::Context as _;
use brama::{
    app::Foundation,
    clock::Timestamp,
    config::Config,
    identity::AccountId,
    secret::{Purpose, random_text},
    session::{NewStored, Record, SessionId, cookie::Cookies, lifetime::Lifetime},
};
use clap::Parser;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

/// Writes under way at once: enough to keep a store busy over a network connection.
const AT_ONCE: usize = 64;
/// How long a store that is starting may take to answer.
const STORE_PATIENCE: Duration = Duration::from_secs(10);
/// About what an ID token with a dozen claims and an RSA signature has.
const ID_TOKEN_CHARS: usize = 1100;
/// As long as the name of a picture at Google.
const PICTURE_CHARS: usize = 55;

#[derive(Parser)]
struct Args {
    /// The gateway's configuration.
    #[arg(long)]
    config: PathBuf,
    /// How many sessions.
    #[arg(long)]
    count: usize,
    /// Where to write their ids.
    #[arg(long)]
    ids: PathBuf,
    /// Pretend that they are next used so many seconds from now, so that no use before then is noted in the store.
    #[arg(long, default_value_t = 0)]
    seen_ahead: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = Config::load(&args.config)?;
    let foundation = Foundation::open(&config).await?;
    until_it_answers(&foundation).await?;
    let lifetime = Lifetime { idle: config.session.idle_timeout, absolute: config.session.absolute_timeout };
    let ids: Vec<String> = stream::iter(0..args.count)
        .map(|number| write(&foundation, lifetime, number, Duration::from_secs(args.seen_ahead)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut file = File::create(&args.ids).context("cannot make the file of ids")?;
    file.write_all((ids.join("\n") + "\n").as_bytes()).context("cannot write the ids")?;
    let cookies = Cookies::new(&config.session, &config.portal.public_url)?;
    writeln!(std::io::stdout(), "{}", cookies.session_name())?;
    Ok(())
}

/// A Redis may still be connecting; an embedded store answers at once.
async fn until_it_answers(foundation: &Foundation) -> anyhow::Result<()> {
    let answers = async {
        while foundation.sessions.store().ping().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(STORE_PATIENCE, answers).await.context("the session store does not answer")
}

async fn write(
    foundation: &Foundation,
    lifetime: Lifetime,
    number: usize,
    seen_ahead: Duration,
) -> anyhow::Result<String> {
    let now = foundation.clock.now();
    let id = SessionId::fresh();
    let key = id.key();
    let record = record(foundation, &id, number, now, lifetime)?;
    let sealed = foundation.keys.seal(Purpose::SessionRecord, b"", key.bytes(), &serde_json::to_vec(&record)?);
    let session = record.session;
    let new = NewStored {
        key,
        account: session.account,
        identity: session.origin.key.clone(),
        sid: session.origin.sid.clone(),
        sealed,
        last_seen: now.plus(seen_ahead),
        expires_at: lifetime.expires_at(now, session.ends_at),
    };
    foundation.sessions.store().begin(new, None, &[]).await?;
    Ok(id.expose())
}

/// A record as a sign-in leaves it. The facts are written as JSON and read back, so that a field they lack is found out.
fn record(
    foundation: &Foundation,
    id: &SessionId,
    number: usize,
    now: Timestamp,
    lifetime: Lifetime,
) -> anyhow::Result<Record> {
    let session = serde_json::from_value(json!({
        "account": AccountId::fresh(now),
        "origin": {
            "provider": "oidc",
            "issuer": "https://accounts.google.com",
            "subject": format!("1{number:020}"),
            "at": now,
        },
        "profile": {
            "email": format!("person.{number}@example.com"),
            "email_verified": true,
            "name": format!("Person Number {number}"),
            "given_name": "Person",
            "family_name": format!("Number {number}"),
            "picture": format!("https://lh3.googleusercontent.com/a/{}=s96-c", random_chars(PICTURE_CHARS)),
            "locale": "uk",
            "groups": ["engineering", "staff"],
            "claims": {"hd": "example.com", "department": "logistics", "level": 3},
        },
        "created_at": now,
        "ends_at": lifetime.ends_at(now),
    }))?;
    Ok(Record {
        session,
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0".into()),
        tokens: Some(tokens(foundation, id, now)),
    })
}

/// The provider's tokens, sealed as `session::Sessions` does it.
fn tokens(foundation: &Foundation, id: &SessionId, now: Timestamp) -> String {
    use base64::Engine as _;
    let record = json!({
        "access": random_chars(180),
        "expires_at": now.plus(Duration::from_secs(3600)),
        "refresh": random_chars(100),
        "id": random_chars(ID_TOKEN_CHARS),
    });
    let sealed =
        foundation.keys.seal(Purpose::ProviderTokens, id.bytes(), id.key().bytes(), record.to_string().as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sealed)
}

fn random_chars(count: usize) -> String {
    std::iter::repeat_with(random_text).flat_map(|text| text.into_bytes()).map(char::from).take(count).collect()
}
