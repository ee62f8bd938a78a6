"""How long a session that has ended still passes at another replica."""

import http.client
import re
import time
import urllib.parse

from .. import table
from ..compare import Run
from ..errors import BenchError
from ..servers import brama, nginx, redis, simulators
from ..stage import Server, Stage, free_port
from .common import ask

TITLE = "revocation: sign-out at one replica until refusal at another"
ABOUT = """
Two replicas share a Redis; the second serves 5,000 requests a second with another session meanwhile. A session that the
second has in its cache is signed out at the first; the second is then asked again and again until it refuses. The
figure is from the acknowledgement of the sign-out to the end of the first refusal, so at least one request; `from
request` counts from when the sign-out was sent.
"""
PRIMARY, REFERENCE = "p99_ms", ""
RATE = 5_000


def run(run: Run) -> None:
    each = run.settings.scaled(100, 10)
    with Stage() as stage:
        app = nginx.app(stage)
        first, second, sessions = _replicas(stage, run, app, each * run.settings.rounds + 1)
        cookies = [f"{sessions.cookie}={line}" for line in sessions.ids.read_text().split()]
        busy = cookies.pop()
        for number in range(run.settings.rounds):
            taken = [cookies.pop() for _ in range(each)]
            figures = _under_load(stage, run, second, busy, lambda: [_revoke(first, second, one) for one in taken])
            run.results.add(run.dimension, f"{RATE:,} requests/s", "brama, 2 replicas + redis", number + 1, figures)
        table.show(run.results.figures, run.about, run.dimension, f"{RATE:,} requests/s")


def _replicas(stage: Stage, run: Run, app: Server, count: int) -> tuple[Server, Server, brama.Sessions]:
    store = redis.start(stage)
    providers = simulators.start(stage, run.binaries, free_port()).toml_of("oidc")
    session = "[session]\n" + brama.in_redis(stage, run.binaries, store)
    setups = [brama.set_up(stage, f"http://{app.address}", providers, name=name, session=session)
              for name in ("replica-1", "replica-2")]
    sessions = brama.write_sessions(run.binaries, setups[0], count)
    return *(brama.start(stage, run.binaries, setup) for setup in setups), sessions


def _under_load(stage: Stage, run: Run, server: Server, cookie: str, work) -> dict[str, float]:
    command = [run.binaries.client, "paced", *ask(server, "/", cookie), "--rate", RATE, "--seconds", 3600]
    load = stage.start("load", command)
    time.sleep(0.2)  # Until the load has begun.
    taken = work()
    load.must_run()
    stage.stop(load)
    acknowledged, requested = (sorted(column) for column in zip(*taken))
    return {
        "p50_ms": acknowledged[len(acknowledged) // 2],
        "p99_ms": acknowledged[min(len(acknowledged) - 1, len(acknowledged) * 99 // 100)],
        "request_p99_ms": requested[min(len(requested) - 1, len(requested) * 99 // 100)],
    }


def _revoke(first: Server, second: Server, cookie: str) -> tuple[float, float]:
    """Milliseconds from acknowledgement and from request."""
    there = http.client.HTTPConnection("127.0.0.1", second.port, timeout=10)
    here = http.client.HTTPConnection("127.0.0.1", first.port, timeout=10)
    try:
        if _ask(there, second, cookie) != 200 or _ask(there, second, cookie) != 200:
            raise BenchError("a session that was just written is not let in")
        form = _form(here, first, cookie)
        sent = time.perf_counter()
        here.request("POST", "/oauth2/sign_out", form, {
            "Host": f"localhost:{first.port}", "Cookie": cookie, "Origin": first.url, "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/x-www-form-urlencoded"})
        answer = here.getresponse()
        acknowledged = time.perf_counter()
        answer.read()
        if answer.status != 303:
            raise BenchError(f"the sign-out is answered with {answer.status}")
        while _ask(there, second, cookie) == 200:
            if time.perf_counter() - acknowledged > 10:
                raise BenchError("a session that has ended is let in for more than 10 s")
        refused = time.perf_counter()
        return (refused - acknowledged) * 1000, (refused - sent) * 1000
    finally:
        here.close()
        there.close()


def _ask(connection: http.client.HTTPConnection, server: Server, cookie: str) -> int:
    connection.request("GET", "/", headers={
        "Host": f"localhost:{server.port}", "Cookie": cookie, "Accept": "application/json"})
    answer = connection.getresponse()
    answer.read()
    if answer.status not in (200, 401):
        raise BenchError(f"{server.name} answers {answer.status}")
    return answer.status


def _form(connection: http.client.HTTPConnection, server: Server, cookie: str) -> str:
    connection.request("GET", "/oauth2/sign_out", headers={
        "Host": f"localhost:{server.port}", "Cookie": cookie, "Accept": "text/html"})
    page = connection.getresponse().read().decode()
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    if not token:
        raise BenchError("there is no sign-out form")
    return urllib.parse.urlencode({"csrf": token[1]})
