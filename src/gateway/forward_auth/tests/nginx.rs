//! A real nginx in front that asks by `auth_request`, as the example in `config/examples` sets it up.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::net::UnixStream;

use super::{Answer, Browser, PAGE, ROUTES, TRUSTED, TestGateway};
use crate::app::test_gateway::converse;

/// The running nginx, on a Unix socket in a folder of its own; it ends with its handle.
struct Nginx {
    child: Child,
    folder: tempfile::TempDir,
}

impl Nginx {
    async fn start(gateway: &TestGateway) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {root}/{kind};"))
            .join(" ");
        let (brama, app) = (gateway.address, gateway.parts.app.address());
        let headers = ["User", "Email", "Preferred-Username", "Groups"].map(|name| {
            let variable = name.to_lowercase().replace('-', "_");
            format!(
                "auth_request_set ${variable} $upstream_http_x_auth_request_{variable};\n\
                 proxy_set_header X-Auth-Request-{name} ${variable};\n"
            )
        });
        let settings = format!(
            r#"
daemon off; master_process off; pid {root}/pid; error_log stderr; events {{}}
http {{
  access_log off; {temporary}
  server {{
    listen unix:{root}/front.sock;
    location / {{
      auth_request /_auth;
      auth_request_set $sign_in $upstream_http_location;
      error_page 401 = @sign_in;
      {}
      proxy_set_header Host $http_host;
      proxy_pass http://{app};
    }}
    location = /_auth {{
      internal;
      proxy_pass http://{brama}/oauth2/auth;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Original-Method $request_method;
      proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
    }}
    location @sign_in {{ return 302 $sign_in; }}
    location /oauth2/ {{ proxy_pass http://{brama}; proxy_set_header Host $http_host; }}
  }}
}}
"#,
            headers.concat()
        );
        fs::write(folder.path().join("nginx.conf"), settings).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let child = Command::new("/usr/bin/env")
            .arg("nginx")
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .env("PATH", path)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut nginx = Self { child, folder };
        let up = async {
            while UnixStream::connect(nginx.folder.path().join("front.sock")).await.is_err() {
                assert!(
                    nginx.child.try_wait().unwrap().is_none(),
                    "this test needs a real nginx with auth_request: install nginx\n{}",
                    fs::read_to_string(nginx.folder.path().join("log")).unwrap_or_default()
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), up).await.expect("nginx listens within 20 s");
        nginx
    }

    async fn get(&self, browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Answer {
        let stream = UnixStream::connect(self.folder.path().join("front.sock")).await.unwrap();
        let answer = converse(stream, &browser.request("GET", path, fields, "")).await;
        browser.keep(&answer);
        answer
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every way a client could try to be somebody, or to be asked about as somewhere else.
const FORGED: [(&str, &str); 9] = [
    ("X-Auth-Request-User", "root"),
    ("X-Auth-Request-Email", "root@evil.test"),
    ("x-auth-request-groups", "wheel"),
    ("X-Auth-Request-Groups", "admins"),
    ("X_Auth_Request_User", "root"),
    ("X.Auth.Request.User", "root"),
    ("X-Auth-Request-Preferred-Username", "root"),
    ("X-Original-URL", "http://app.gate.test/public"),
    ("X-Original-Method", "OPTIONS"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_no_identity_a_client_wrote_reaches_the_app() {
    let gateway = TestGateway::start(&format!("{ROUTES}{TRUSTED}[forward_auth]\nsource = \"x-original\"\n")).await;
    let nginx = Nginx::start(&gateway).await;
    let identity = || {
        let seen = gateway.parts.app.seen().pop().unwrap();
        let ours = |name: &str| name.replace(['_', '.'], "-").starts_with("x-auth-request-");
        seen.headers.into_iter().filter(|(name, _)| ours(name)).collect::<Vec<_>>()
    };

    // Nobody is signed in: a page load ends at sign-in by nginx's own redirect, and the app sees nothing of it.
    let mut nobody = gateway.browser();
    nobody.host = "app.gate.test".into();
    let answer = nginx.get(&mut nobody, "/reports?q=1", &[&FORGED[..], &[PAGE]].concat()).await;
    let sign_in = "http://app.gate.test/oauth2/sign_in?rd=%2Freports%3Fq%3D1";
    assert_eq!((answer.status, answer.header("location")), (302, sign_in));
    assert_eq!(gateway.parts.app.seen().len(), 0);

    // A public path: no identity at all.
    assert_eq!(nginx.get(&mut nobody, "/public", &FORGED).await.status, 200);
    assert_eq!(identity(), []);

    // Somebody without address and groups: theirs, and nothing in the place of what they lack.
    let mut boris = gateway.signed_in("boris", "oidc").await;
    boris.host = "app.gate.test".into();
    assert_eq!(nginx.get(&mut boris, "/", &FORGED).await.status, 200);
    let told = identity();
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-auth-request-user", "x-auth-request-preferred-username"]);
    assert!(told.iter().all(|(_, value)| value != "root"), "{told:?}");

    // The forged address did not open what is for admins.
    assert_eq!(nginx.get(&mut boris, "/admin", &FORGED).await.status, 403);
    let mut alice = gateway.signed_in("alice", "oidc").await;
    alice.host = "app.gate.test".into();
    assert_eq!(nginx.get(&mut alice, "/admin", &FORGED).await.status, 200);
    let groups: Vec<String> =
        identity().into_iter().filter(|(name, _)| name == "x-auth-request-groups").map(|(_, value)| value).collect();
    assert_eq!(groups, ["admins,staff"]);
}
