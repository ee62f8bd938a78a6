"""HAProxy: a thread a core, idle connections to the app shared, no logs."""

import resource

from ..build import tool
from ..stage import Server, Stage, free_port

CONFIG = """
global
  maxconn {connections}
  tune.ssl.cachesize 20000
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
  timeout tunnel 600s
  http-reuse always
frontend front
  bind 127.0.0.1:{port} {bind}
  default_backend app
backend app
  server app {upstream}
"""


def connections() -> int:
    """How many it may have: each takes two files, and it refuses to start with fewer than that."""
    return min(15_000, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 2)


def proxy(stage: Stage, upstream: str, *, bind: str = "") -> Server:
    """A proxy without any auth. `upstream` is address:port or unix@path; `bind` are words after the port."""
    port = free_port()
    path = stage.folder / "haproxy.conf"
    path.write_text(CONFIG.format(port=port, bind=bind, upstream=upstream, connections=connections()))
    return stage.listening(stage.start("haproxy", [tool("haproxy"), "-db", "-f", path], port=port))
