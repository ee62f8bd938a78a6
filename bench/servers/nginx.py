"""nginx: the app behind everybody, and the peer.

Set up as its manual advises for a reverse proxy: a worker a core, kept-alive upstream connections, no logs, no limit on
requests a connection, bodies streamed and never spooled to disk.
"""

import os
import resource

from ..build import tool
from ..stage import Server, Stage, free_port

HELLO = b"hello from the app\n"
BIG_BYTES = 2**30

CONFIG = """
daemon off; worker_processes auto; worker_rlimit_nofile {files}; {user}
pid {folder}/{name}.pid; error_log {folder}/{name}.error warn;
events {{ worker_connections {files}; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; default_type text/plain;
  client_body_temp_path {folder}/{name}.b; proxy_temp_path {folder}/{name}.p; fastcgi_temp_path {folder}/{name}.f;
  uwsgi_temp_path {folder}/{name}.u; scgi_temp_path {folder}/{name}.s;
  keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
  map $http_upgrade $connection_field {{ default upgrade; '' ''; }}
  {http}
}}
"""

PROXIED = """
  proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_set_header Connection $connection_field;
  proxy_set_header Upgrade $http_upgrade; proxy_request_buffering off; proxy_max_temp_file_size 0;
"""


def start(stage: Stage, name: str, http: str, port: int) -> Server:
    """nginx with this in its `http` block."""
    files = min(20_000, _file_limit())
    user = "user root;" if os.geteuid() == 0 else ""
    path = stage.folder / f"{name}.conf"
    path.write_text(CONFIG.format(folder=stage.folder, name=name, http=http, files=files, user=user))
    command = [tool("nginx"), "-p", stage.folder, "-c", path, "-e", stage.folder / f"{name}.error"]
    return stage.listening(stage.start(name, command, port=port))


def app(stage: Stage) -> Server:
    """The app: small answers from memory over TCP and a Unix socket, and a file of 1 GiB at /big."""
    port = free_port()
    with (stage.folder / "big").open("wb") as big:
        big.truncate(BIG_BYTES)
    return start(stage, "app", f"""
      server {{ listen 127.0.0.1:{port} reuseport backlog=4096; listen unix:{socket(stage)};
        location = /big {{ root {stage.folder}; }}
        location / {{ return 200 "{HELLO.decode().strip()}\\n"; }} }}""", port)


def socket(stage: Stage) -> str:
    """The app's Unix socket."""
    return f"{stage.folder}/app.sock"


def proxy(stage: Stage, upstream: str, *, listen: str = "", extra: str = "", name: str = "nginx") -> Server:
    """`proxy_pass` without any auth. `upstream` is address:port or unix:path; `listen` are words after the port."""
    port = free_port()
    return start(stage, name, f"""
      upstream app {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
      server {{ listen 127.0.0.1:{port} {listen} reuseport backlog=4096; {extra}
        location / {{ proxy_pass http://app; {PROXIED} }} }}""", port)


def auth_request(stage: Stage, upstream: str, auth: str, host: str, name: str) -> Server:
    """`proxy_pass` behind `auth_request`, which asks /oauth2/auth at `auth`."""
    port = free_port()
    return start(stage, name, f"""
      upstream app {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
      upstream auth {{ server {auth}; keepalive 128; keepalive_requests 1000000000; }}
      server {{ listen 127.0.0.1:{port} reuseport backlog=4096;
        location / {{ auth_request /_auth; auth_request_set $user $upstream_http_x_auth_request_user;
          proxy_pass http://app; {PROXIED} proxy_set_header X-Forwarded-User $user; }}
        location = /_auth {{ internal; proxy_pass http://auth/oauth2/auth; proxy_http_version 1.1;
          proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection "";
          proxy_set_header Host {host}; proxy_set_header X-Original-URI $request_uri; }} }}""", port)


def fixed(stage: Stage, status: int = 202) -> Server:
    """The same answer to everybody."""
    port = free_port()
    return start(stage, "nginx-fixed", f"""
      server {{ listen 127.0.0.1:{port} reuseport backlog=4096; location / {{ return {status}; }} }}""", port)


def _file_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
