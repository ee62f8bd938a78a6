//! Two ways to run Brama, each with all it needs.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use brama::demo::SampleApp;
use tempfile::TempDir;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    events::Events,
    killer::{self, Victim},
    provider::Provider,
    servers::{Server, gateway::Gateway, postgres, rabbitmq, redis},
};

/// How often servers are looked at for having ended by themselves.
const LOOK_AFTER: Duration = Duration::from_millis(25);
/// Longest a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that runs. All of it ends when this is dropped, or with the process.
pub(crate) struct Constellation {
    pub(crate) gateways: Arc<[Gateway]>,
    pub(crate) victims: Vec<Victim>,
    pub(crate) events: Events,
    /// By which people sign in, and which they link.
    pub(crate) providers: [Provider; 2],
    looking_after: JoinHandle<()>,
    _app: SampleApp,
    _folders: Vec<TempDir>,
}

impl Constellation {
    /// Two replicas; sessions and outbox in Redis, accounts in PostgreSQL, events to RabbitMQ.
    pub(crate) async fn replicas() -> Self {
        let (sessions, accounts, broker) =
            tokio::join!(spawn_blocking(redis::new), spawn_blocking(postgres::new), spawn_blocking(rabbitmq::new));
        let (sessions, sessions_port, sessions_folder) = sessions.expect("Redis can be set up");
        let (accounts, accounts_port, accounts_folder) = accounts.expect("PostgreSQL can be set up");
        let (broker, broker_port, broker_folder) = broker.expect("RabbitMQ can be set up");
        let (broker, accounts, sessions) = (Arc::new(broker), Arc::new(accounts), Arc::new(sessions));
        for server in [&broker, &accounts, &sessions] {
            server.start();
        }
        says(&broker, "Server startup complete").await;
        says(&accounts, "ready to accept connections").await;
        says(&sessions, "Ready to accept connections").await;
        let more = format!(
            "[session]\nstore = \"redis\"\n[session.redis]\nurl = \"redis://127.0.0.1:{sessions_port}/0\"\n\
             [directory]\nengine = \"postgres\"\n[directory.postgres]\n\
             url = \"postgres://127.0.0.1:{accounts_port}/postgres?sslmode=disable\"\nusername = \"brama\"\n\
             [event.sink.bus]\nkind = \"rabbitmq\"\n[event.sink.bus.rabbitmq]\n\
             url = \"amqp://127.0.0.1:{broker_port}\"\nusername = \"guest\"\npassword = \"guest\"\n\
             [keys]\nsealing = [\"{}\"]\n",
            STANDARD.encode(brama::secret::random::<32>())
        );
        let events = Events::of_queue(broker_port, broker_folder.path()).await;
        let victim = |server: &Arc<Server>, weight| Victim { server: server.clone(), weight };
        // RabbitMQ takes long to start: killed as often as the others it would hardly ever be there.
        let others = vec![victim(&sessions, 3), victim(&accounts, 2), victim(&broker, 1)];
        Self::with(2, &more, others, |_| events, vec![sessions_folder, accounts_folder, broker_folder]).await
    }

    /// One gateway and its files, nothing else.
    pub(crate) async fn alone() -> Self {
        let more = "[directory]\nfile = \"{folder}/brama.db\"\n\
                    [event.sink.lines]\nkind = \"file\"\n[event.sink.lines.file]\npath = \"{folder}/events.jsonl\"\n";
        let events = |gateway: &Gateway| Events::of_file(&gateway.server.folder().join("events.jsonl"));
        Self::with(1, more, Vec::new(), events, Vec::new()).await
    }

    async fn with(
        count: usize,
        more: &str,
        mut victims: Vec<Victim>,
        events: impl FnOnce(&Gateway) -> Events,
        mut folders: Vec<TempDir>,
    ) -> Self {
        let providers = [Provider::start("first").await, Provider::start("second").await];
        let app = SampleApp::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("the app starts");
        let more = format!(
            "{more}{}{}[upstream.app]\ntargets = [\"http://{}\"]\n[[route]]\npath = \"/\"\nupstream = \"app\"\n",
            providers[0].toml(),
            providers[1].toml(),
            app.address()
        );
        let mut gateways = Vec::new();
        for _ in 0..count {
            let (gateway, folder) = Gateway::new(&more);
            gateway.server.start();
            victims.push(Victim { server: gateway.server.clone(), weight: 2 });
            gateways.push(gateway);
            folders.push(folder);
        }
        let events = events(gateways.first().expect("there is a gateway"));
        let servers: Vec<_> = victims.iter().map(|victim| victim.server.clone()).collect();
        let constellation = Self {
            gateways: gateways.into(),
            events,
            providers,
            looking_after: tokio::spawn(look_after(servers)),
            victims,
            _app: app,
            _folders: folders,
        };
        if let Err(complaint) = killer::all_well(&constellation.gateways).await {
            let said: Vec<String> = constellation.gateways.iter().map(|gateway| gateway.server.last_words()).collect();
            panic!("{complaint}\n{}", said.join("\n"));
        }
        constellation
    }
}

impl Drop for Constellation {
    fn drop(&mut self) {
        self.looking_after.abort();
        self.victims.iter().for_each(|victim| victim.server.kill());
    }
}

async fn look_after(servers: Vec<Arc<Server>>) {
    loop {
        tokio::time::sleep(LOOK_AFTER).await;
        tokio::task::block_in_place(|| servers.iter().for_each(|server| server.look_after()));
    }
}

/// Waits until a server has said this.
async fn says(server: &Server, words: &str) {
    let waiting = async {
        while !server.log().contains(words) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answered = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(answered.is_ok(), "{} does not start: {}", server.kind, server.last_words());
}
