"""What a sign-in costs by where accounts are kept, and by where events go."""

import statistics
import time
import typing

from ..compare import Product, Run, compare, present
from ..servers import brama, cassandra, kafka, mongodb, nginx, postgres, rabbitmq, simulators
from ..stage import Server, Stage, free_port
from .common import TRUSTING, sign_in_from, strangers

TITLE = "a sign-in by where accounts are kept and where events go"
ABOUT = """
The sign-in of `logins` at the OpenID Connect provider, one after the other, of a person who is known already: the account
is found and updated, a session is begun, and the event written beside it. Sessions are in the embedded store throughout.
CPU is Brama's own; the database's is not in it. Wall time is of the whole sign-in as a browser sees it, the simulated
provider's share and that of the browser (Python) included: compare the rows, not the figures. Databases and broker run on
the same machine, one node each, their disks as they are; in place of MongoDB stands mongo-java-server, so of that row the
CPU alone means something. A dead sink is an address where nobody listens: a sign-in must not notice it.
"""
PRIMARY, REFERENCE = "cpu_ms", "sqlite, no sink"


class Host:
    """What every Brama of this dimension shares."""

    def __init__(self, stage: Stage, run: Run):
        self.stage, self.run, self.app = stage, run, nginx.app(stage)
        self.count = run.settings.scaled(100, 5)

    def product(self, name: str, directory: str = "", sink: str = "") -> Product:
        """One Brama, running, its tables made."""
        port, word = free_port(), name.replace(", ", "-").replace(" ", "-")
        providers = simulators.start(self.stage, self.run.binaries, port, f"simulators-{word}")
        setup = brama.set_up(self.stage, f"http://{self.app.address}", providers.toml_of("oidc"), name=f"brama-{word}",
                             port=port, session=TRUSTING + sink, directory=directory)
        brama.migrate(self.run.binaries, setup)
        server = brama.start(self.stage, self.run.binaries, setup)
        return Product(name, server, _timed(server, self.count), unit="logins", metric="cpu_ms", scale=1e-3)


def run(run: Run) -> None:
    with Stage() as stage:
        host = Host(stage, run)
        products = [host.product(REFERENCE)]
        products += present(run, lambda: [_postgres(host)], lambda: [_mongodb(host)], lambda: [_cassandra(host)])
        compare(run, "accounts", products)
    with Stage() as stage:
        host = Host(stage, run)
        products = [host.product(REFERENCE)]
        products += present(run, lambda: [_rabbitmq(host)])
        products += [
            host.product("sqlite, rabbitmq dead", sink=rabbitmq.toml(free_port())),
            host.product("sqlite, kafka dead", sink=kafka.toml(free_port())),
        ]
        compare(run, "events", products)


def _postgres(host: Host) -> Product:
    return host.product("postgres, no sink", postgres.toml(postgres.start(host.stage)))


def _mongodb(host: Host) -> Product:
    return host.product("mongodb, no sink", mongodb.toml(mongodb.start(host.stage)))


def _cassandra(host: Host) -> Product:
    return host.product("cassandra, no sink", cassandra.toml(host.stage, cassandra.start(host.stage)))


def _rabbitmq(host: Host) -> Product:
    return host.product("sqlite, rabbitmq", sink=rabbitmq.toml(rabbitmq.start(host.stage).port))


def _timed(server: Server, count: int) -> typing.Callable[[], dict]:
    """So many sign-ins, each from an address of its own, with how long they took."""
    addresses = strangers()

    def load() -> dict:
        took = []
        for _ in range(count):
            start = time.perf_counter()
            sign_in_from(server, next(addresses))
            took.append((time.perf_counter() - start) * 1000)
        return {"logins": count, "p50_ms": statistics.median(took), "p99_ms": _percentile(took, 0.99)}

    return load


def _percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
