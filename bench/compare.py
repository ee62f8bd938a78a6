"""Rounds: every product once in each, in turns, so that whatever disturbs the machine disturbs all alike."""

import dataclasses
import types
import typing

from . import table, usage
from .build import Binaries
from .errors import BenchError, Missing
from .results import Results
from .settings import Settings
from .stage import Server


@dataclasses.dataclass
class Run:
    """What every dimension is given."""

    settings: Settings
    binaries: Binaries
    results: Results
    dimension: str
    about: types.ModuleType

    def note(self, text: str) -> None:
        """Something the tables must say."""
        self.results.note(self.dimension, text)


@dataclasses.dataclass
class Product:
    """Something to measure: its own server, servers that work for it, and the load.

    `load` gives figures of which `count` (by default `requests`) says how many units of work were done. `check` is
    asked before and after each round and raises when the product does not do what is measured. `metric` is what CPU
    time a unit is called, microseconds times `scale`.
    """

    name: str
    own: Server
    load: typing.Callable[[], dict]
    helpers: dict[str, Server] = dataclasses.field(default_factory=dict)
    check: typing.Callable[[], None] = lambda: None
    unit: str = "requests"
    metric: str = "cpu_us"
    scale: float = 1.0


def measure(product: Product) -> dict[str, float]:
    """One measurement: CPU time a unit of work, what the load tool found, memory afterwards."""
    product.check()
    servers = {"own": product.own, **product.helpers}
    before = {name: server.cpu_us() for name, server in servers.items()}
    figures = product.load()
    spent = {name: server.cpu_us() - before[name] for name, server in servers.items()}
    product.check()
    count = figures[product.unit]
    if not count:
        raise BenchError(f"{product.name} did no work")
    memory = usage.memory(product.own.pid)
    return {
        **figures,
        product.metric: sum(spent.values()) / count * product.scale,
        **{f"{product.metric}_{name}": each / count * product.scale for name, each in spent.items()},
        "rss_kib": memory.rss,
        "pss_kib": memory.pss,
    }


def compare(run: Run, case: str, products: list[Product]) -> None:
    """All rounds of one table."""
    products = [each for each in products if run.settings.wants(each.name, run.about.REFERENCE)]
    for product in products:
        product.check()
        product.load()  # Not counted: connections are made, caches fill.
    for number in range(run.settings.rounds):
        turn = number % len(products)
        for product in products[turn:] + products[:turn]:
            run.results.add(run.dimension, case, product.name, number + 1, measure(product))
    table.show(run.results.figures, run.about, run.dimension, case)


def present(run: Run, *makers: typing.Callable[[], list[Product]]) -> list[Product]:
    """The products that are there; those that are missing are noted."""
    found = []
    for maker in makers:
        try:
            found += maker()
        except Missing as missing:
            run.note(str(missing))
    return found
