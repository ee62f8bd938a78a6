"""Latency added at a rate that leaves everybody idle most of the time."""

from .. import load, table
from ..compare import Run, present
from ..servers import haproxy, nginx
from ..stage import Stage
from .common import ask, written_brama

TITLE = "latency added at 2,000 requests a second"
ABOUT = """
`bench-client paced`: requests at a fixed rate over 16 connections, spread evenly; each counts from when it was due if
its connection was busy then, else from when it was sent. `direct` asks the app without a proxy; what is added is the
difference of the medians of the same round. On two CPUs p99 is the scheduler's as much as the product's.
"""
PRIMARY, REFERENCE = "added_p50_us", "nginx"
RATE = 2_000


def run(run: Run) -> None:
    with Stage() as stage:
        app = nginx.app(stage)
        gateway, cookie = written_brama(stage, run, f"http://{app.address}")
        servers = [("nginx", nginx.proxy(stage, app.address), ""), ("brama", gateway, cookie)]
        servers += present(run, lambda: [("haproxy", haproxy.proxy(stage, app.address), "")])
        servers = [("direct", app, "")] + servers
        case = f"{RATE:,} requests/s"
        for number in range(run.settings.rounds):
            turn = number % len(servers)
            seen = {name: _paced(run, server, cookie) for name, server, cookie in servers[turn:] + servers[:turn]}
            for name, figures in seen.items():
                added = figures["p50_us"] - seen["direct"]["p50_us"]
                run.results.add(run.dimension, case, name, number + 1, {**figures, "added_p50_us": added})
        table.show(run.results.figures, run.about, run.dimension, case)


def _paced(run: Run, server, cookie: str) -> dict:
    seconds = max(1.0, run.settings.seconds)
    return load.client(run.binaries, "paced", *ask(server, "/", cookie), "--rate", RATE, "--seconds", seconds)
