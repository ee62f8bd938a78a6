//! A server that speaks just enough of MongoDB's wire protocol (OP_MSG) to refuse us as MongoDB would, and to note what
//! it was asked. For what the server of the other tests cannot do: logins, rights, majorities.

use std::sync::{Arc, Mutex};

use mongodb::bson::{Document, doc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The code of OP_MSG (MongoDB wire protocol).
const OP_MSG: i32 = 2013;

/// What is answered to a command of this name; `None` is success.
pub(super) type Answer = fn(&str) -> Option<Document>;

/// The server. It ends with the runtime of the test.
pub(super) struct FakeServer {
    pub(super) port: u16,
    asked: Arc<Mutex<Vec<Document>>>,
}

impl FakeServer {
    pub(super) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::<Mutex<Vec<Document>>>::default();
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let noted = Arc::clone(&noted);
                // A connection that breaks is the client's affair.
                tokio::spawn(async move { _ = serve(connection, answer, noted).await });
            }
        });
        Self { port, asked }
    }

    /// The commands of this name, in order.
    pub(super) fn asked(&self, name: &str) -> Vec<Document> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|command| self::name(command) == name).cloned().collect()
    }
}

fn name(command: &Document) -> &str {
    command.keys().next().map_or("", |name| name)
}

async fn serve(mut connection: TcpStream, answer: Answer, noted: Arc<Mutex<Vec<Document>>>) -> std::io::Result<()> {
    loop {
        let length = connection.read_i32_le().await?;
        let request = connection.read_i32_le().await?;
        let (_answers, code) = (connection.read_i32_le().await?, connection.read_i32_le().await?);
        assert_eq!(code, OP_MSG);
        let mut body = vec![0; usize::try_from(length).unwrap() - 16];
        connection.read_exact(&mut body).await?;
        // Flags (4 bytes), the kind of the section (1), then the command itself.
        let command = Document::from_reader(&body[5..]).unwrap();
        let reply = answer(name(&command)).unwrap_or_else(|| success(name(&command)));
        noted.lock().unwrap().push(command);
        let reply = reply.to_vec().unwrap();
        connection.write_i32_le(16 + 5 + i32::try_from(reply.len()).unwrap()).await?;
        for part in [0, request, OP_MSG, 0] {
            connection.write_i32_le(part).await?;
        }
        connection.write_u8(0).await?;
        connection.write_all(&reply).await?;
    }
}

fn success(command: &str) -> Document {
    match command.to_ascii_lowercase().as_str() {
        "ismaster" | "hello" => doc! {
            "ok": 1, "ismaster": true, "minWireVersion": 0, "maxWireVersion": 13, "maxBsonObjectSize": 1 << 24,
            "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 1000, "saslSupportedMechs": ["SCRAM-SHA-256"],
        },
        "find" => doc! { "ok": 1, "cursor": { "id": 0_i64, "ns": "brama.any", "firstBatch": [] } },
        "findandmodify" => doc! { "ok": 1, "value": null },
        _ => doc! { "ok": 1, "n": 1, "nModified": 1 },
    }
}

/// How MongoDB refuses.
pub(super) fn refusal(code: i32, name: &str, message: &str) -> Document {
    doc! { "ok": 0, "code": code, "codeName": name, "errmsg": message }
}
