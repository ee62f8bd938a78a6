"""From exec to the first answer."""

import http.client
import time
import typing

from .. import table
from ..compare import Run
from ..errors import BenchError, Missing
from ..servers import apache, brama, haproxy, nginx, oauth2_proxy, redis, simulators
from ..stage import PATIENCE, Server, Stage, free_port

TITLE = "start: from exec to the first answer"
ABOUT = """
The process is started and asked every 0.2 ms until it answers: Brama on /ping of its admin listener (bound after all
else), the others on their port. `first start` makes the database and the sealing key; the other rows find them. What
starting a process costs this program is in all of them alike.
"""
PRIMARY, REFERENCE = "ms", "nginx"


def run(run: Run) -> None:
    with Stage() as stage:
        app = nginx.app(stage)
        port = free_port()
        providers = simulators.start(stage, run.binaries, port)
        store = redis.start(stage)
        fresh = iter(range(1_000_000))

        def brama_first() -> tuple[list, int]:
            setup = _brama(stage, app, providers, f"brama-first-{next(fresh)}")
            return [run.binaries.brama, "serve", "--config", setup.config], setup.admin

        again = _brama(stage, app, providers, "brama")
        commands = {
            "brama": lambda: ([run.binaries.brama, "serve", "--config", again.config], again.admin),
            "brama, first start": brama_first,
        }
        peers = {
            "nginx": lambda: nginx.proxy(stage, app.address),
            "haproxy": lambda: haproxy.proxy(stage, app.address),
            "mod_auth_openidc": lambda: apache.start(stage, app.address, store, providers, port),
            "oauth2-proxy": lambda: oauth2_proxy.start(stage, app.address, store, providers, port),
        }
        for name, start in peers.items():
            try:
                commands[name] = _again(stage, start())
            except Missing as missing:
                run.note(str(missing))
        _time(stage, *commands["brama"]())  # Makes the database that the others find.
        for number in range(run.settings.rounds):
            for name, command in commands.items():
                run.results.add(run.dimension, "start", name, number + 1, {"ms": _time(stage, *command())})
        table.show(run.results.figures, run.about, run.dimension, "start")


def _brama(stage: Stage, app: Server, providers: simulators.Simulators, name: str) -> brama.Setup:
    return brama.set_up(stage, f"http://{app.address}", providers.toml_of("oidc"), name=name)


def _again(stage: Stage, server: Server) -> typing.Callable[[], tuple[list, int]]:
    """How to start a peer once more that was set up by starting it."""
    stage.stop(server)
    return lambda: (server.process.args, server.port)


def _time(stage: Stage, command: list, port: int) -> float:
    start = time.perf_counter()
    # Not tied: what ties a child to us makes starting it slower.
    server = stage.start("timed", command, port=port, tied=False)
    while not _answers(port):
        server.must_run()
        if time.perf_counter() - start > PATIENCE:
            raise BenchError(f"{command[0]} does not answer; its log ends:\n{server.tail()}")
        time.sleep(0.0002)
    took = time.perf_counter() - start
    stage.stop(server)
    return took * 1000


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        connection.getresponse().read()
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
