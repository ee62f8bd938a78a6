//! The whole demo: gateway, sample app and simulated providers in one process, on loopback.

use std::{io::Write, path::PathBuf};

use anyhow::Context as _;
use url::Url;

use super::{Parts, Ports};
use crate::{
    app::{self, Running},
    config::{Config, LoadError},
    telemetry,
};

/// What is asked of the demo.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where to keep accounts and sessions; a throw-away folder when not said.
    pub data: Option<PathBuf>,
    /// The gateway's port on localhost.
    pub port: u16,
}

/// Runs the demo until Ctrl-C.
///
/// # Errors
/// When a port or the data folder cannot be used.
pub fn run(wanted: &Wanted, out: &mut dyn Write) -> anyhow::Result<()> {
    let throw_away =
        tempfile::Builder::new().prefix("brama-demo-").tempdir().context("cannot make a temporary folder")?;
    let folder = wanted.data.clone().unwrap_or_else(|| throw_away.path().to_owned());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    app::control_plane()?.block_on(async {
        let gateway = gateway(wanted.port)?;
        let parts = Parts::start(Ports::default(), std::slice::from_ref(&gateway)).await?;
        let text = configuration(&parts, &gateway, wanted.port, &folder.join("brama.db"));
        let config = read(&text)?;
        telemetry::init(&config.telemetry)?;
        let running = Running::start(config).await.with_context(|| {
            format!("the demo cannot start; if port {} is taken, choose another with --port", wanted.port)
        })?;
        out.write_all(welcome(&gateway, &parts, &running, wanted, &folder).as_bytes())?;
        out.flush()?;
        stopped().await?;
        running.drain().await;
        Ok(())
    })
}

/// Runs the simulated providers and the sample app alone, until Ctrl-C.
///
/// # Errors
/// When a port cannot be used.
pub fn simulators(wanted: &Wanted, out: &mut dyn Write) -> anyhow::Result<()> {
    app::control_plane()?.block_on(async {
        let parts = Parts::start(Ports::default(), &[gateway(wanted.port)?]).await?;
        writeln!(out, "# Providers for a gateway at http://localhost:{} (change it with --port).", wanted.port)?;
        for simulator in parts.simulators() {
            writeln!(out, "# control {} {}_control", simulator.kind().word(), simulator.base())?;
        }
        writeln!(out, "# app http://{}\n{}\n# ready; Ctrl-C ends them", parts.app.address(), parts.providers_toml())?;
        out.flush()?;
        stopped().await
    })
}

fn gateway(port: u16) -> anyhow::Result<Url> {
    Url::parse(&format!("http://localhost:{port}/")).context("not a port")
}

/// SIGTERM or Ctrl-C.
async fn stopped() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        done = tokio::signal::ctrl_c() => done?,
    }
    Ok(())
}

fn configuration(parts: &Parts, gateway: &Url, port: u16, database: &std::path::Path) -> String {
    let app = parts.app.address();
    format!(
        r#"
[[listen]]
address = "127.0.0.1:{port}"
[admin]
address = "127.0.0.1:0"
[portal]
public_url = "{gateway}"
title = "Brama demo"
[directory]
file = {database:?}
[telemetry]
log_filter = "warn"
audit_log = "off"
[upstream.app]
targets = ["http://{app}"]
[[route]]
path = "/"
upstream = "app"
assertion = true
[[route]]
path = "/public"
upstream = "app"
auth = "none"
[[route]]
path = "/admin"
upstream = "app"
allow = [{{ group = "admins" }}]
{providers}"#,
        providers = parts.providers_toml()
    )
}

/// Reads the demo's own configuration; a mistake in it is a mistake of ours and is shown whole.
fn read(text: &str) -> anyhow::Result<Config> {
    let (config, problems) = crate::config::load::read("demo.toml".as_ref(), text);
    config.ok_or_else(|| LoadError::Invalid { path: "demo.toml".into(), problems, text: text.to_owned() }.into())
}

fn welcome(gateway: &Url, parts: &Parts, running: &Running, wanted: &Wanted, folder: &std::path::Path) -> String {
    let kept = match wanted.data {
        Some(_) => format!("kept in {}", folder.display()),
        None => "gone when this ends; --data DIR keeps them".to_owned(),
    };
    format!(
        "\nBrama is running. Open  {gateway}  and sign in: nobody there is real, nothing leaves this machine.\n\n\
         Try\n\
         \x20 {gateway}reports/2026?quarter=3   a deep link: you come back to the very address\n\
         \x20 {gateway}public                   open to everyone\n\
         \x20 {gateway}admin                    for the group admins only\n\
         \x20 {gateway}oauth2/account           who am I, where am I signed in\n\
         \x20 {gateway}oauth2/sign_in?choose=1  all providers\n\
         \x20 curl -i {gateway}api/me           a program is told 401 and where to sign in\n\n\
         Running on loopback\n{banner}\x20 metrics              http://{admin}/metrics\n\n\
         Accounts and sessions are {kept}. Ctrl-C stops.\n",
        banner = parts.banner(),
        admin = running.admin(),
    )
}
