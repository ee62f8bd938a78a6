"""WebSocket messages, there and back."""

from .. import load
from ..compare import Product, Run, compare, present
from ..servers import haproxy, nginx
from ..stage import Server, Stage
from .bodies import taking_app
from .common import ask, written_brama

TITLE = "WebSocket echo, 64 B and 16 KiB a message"
ABOUT = """
`bench-client websocket`: 16 connections, each with one binary message under way, to an echo behind the proxy. A unit is
one message there and back.
"""
PRIMARY, REFERENCE = "cpu_us", "nginx"
SIZES = ((64, "64 B"), (16 * 1024, "16 KiB"))


def run(run: Run) -> None:
    with Stage() as stage:
        app = taking_app(stage, run)
        gateway, cookie = written_brama(stage, run, f"http://{app.address}")
        servers = [("nginx", nginx.proxy(stage, app.address), ""), ("brama", gateway, cookie)]
        servers += present(run, lambda: [("haproxy", haproxy.proxy(stage, app.address), "")])
        for size, name in SIZES:
            compare(run, name, [_product(run, size, *server) for server in servers])


def _product(run: Run, size: int, name: str, server: Server, cookie: str) -> Product:
    command = ("websocket", *ask(server, "/ws", cookie), "--header", f"Origin: {server.url}", "--size", size,
               "--seconds", run.settings.seconds)
    return Product(name, server, lambda: load.client(run.binaries, *command), unit="messages")
