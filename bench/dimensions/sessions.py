"""Does a request cost more when there are many sessions?"""

from .. import load, usage
from ..compare import Product, Run, compare
from ..servers import brama, nginx, redis, simulators
from ..stage import Server, Stage, free_port
from .common import must_answer

TITLE = "a session at random among 1, 10,000 and 1 million, from the cache and from the store"
ABOUT = """
Each request shows one session chosen at random among all of them. `cached`: every session was used once before, so all
are in memory; the share of cache hits is counted by Brama itself. `bytes each` is what the process grew by for each
cached session. `from the store`: room for 64 sessions only, so that nearly every request asks the store, embedded or
Redis. Sessions are written straight into the store, as a sign-in would leave them.
"""
PRIMARY, REFERENCE = "cpu_us", "brama, 1 session"
SIZES = (1, 10_000, 1_000_000)
QUICK_SIZES = (1, 1_000, 10_000)
UNCACHED = 64


def run(run: Run) -> None:
    sizes = QUICK_SIZES if run.settings.quick else SIZES
    with Stage() as stage:
        app = nginx.app(stage)
        providers = simulators.start(stage, run.binaries, free_port()).toml_of("oidc")
        compare(run, "cached", [cached(stage, run, app, providers, size) for size in sizes])
    with Stage() as stage:
        app = nginx.app(stage)
        providers = simulators.start(stage, run.binaries, free_port()).toml_of("oidc")
        one = cached(stage, run, app, providers, 1)
        compare(run, "from the store", [one] + [
            product for size in sizes[1:] for product in from_stores(stage, run, app, providers, size)])


def cached(stage: Stage, run: Run, app: Server, providers: str, size: int) -> Product:
    """A Brama with so many sessions, all of them in memory."""
    # Shards fill unevenly, so there is room for a half more.
    session = f"[session]\ncache_capacity = {size * 3 // 2 + 10_000}"
    setup = brama.set_up(stage, f"http://{app.address}", providers, name=f"brama-{size}", session=session)
    sessions = brama.write_sessions(run.binaries, setup, size)
    server = brama.start(stage, run.binaries, setup)
    before = usage.memory(server.pid)
    load.client(run.binaries, "visit", "--address", server.address, "--host", f"localhost:{server.port}",
                "--cookie", sessions.cookie, "--ids", sessions.ids, patience=600)
    grown = usage.memory(server.pid).rss - before.rss
    return _random(run, f"brama, {size:,} session{'s' * (size > 1)}", setup, server, sessions,
                   {"bytes_each": grown * 1024 / size} if size >= 10_000 else {})


def from_stores(stage: Stage, run: Run, app: Server, providers: str, size: int) -> list[Product]:
    """Two with room for a few, before an embedded store and Redis."""
    small = f"[session]\ncache_capacity = {UNCACHED}\n"
    embedded = brama.set_up(stage, f"http://{app.address}", providers, name=f"brama-embedded-{size}", session=small)
    store = redis.start(stage, f"redis-{size}")
    remote = brama.set_up(stage, f"http://{app.address}", providers, name=f"brama-redis-{size}",
                          session=small + brama.in_redis(stage, run.binaries, store))
    products = []
    for name, setup, helpers in (("embedded", embedded, {}), ("redis", remote, {"store": store})):
        sessions = brama.write_sessions(run.binaries, setup, size)
        server = brama.start(stage, run.binaries, setup)
        products.append(_random(run, f"brama, {size:,} sessions, {name}", setup, server, sessions, {}, helpers))
    return products


def _random(run: Run, name: str, setup: brama.Setup, server: Server, sessions: brama.Sessions, more: dict,
            helpers: dict | None = None) -> Product:
    script = (load.LUA / "random_session.lua", sessions.ids, sessions.cookie, f"localhost:{server.port}")

    def counted() -> dict:
        hits, misses = _cache(setup)
        figures = load.wrk(server.url + "/", run.settings.seconds, run.settings.connections, script=script)
        hits, misses = (after - before for after, before in zip(_cache(setup), (hits, misses)))
        return {**figures, **more, "hit_percent": 100 * hits / max(1, hits + misses)}

    return Product(name, server, counted, helpers or {},
                   must_answer(server.url + "/", {"Cookie": sessions.first()}))


def _cache(setup: brama.Setup) -> tuple[float, float]:
    return tuple(brama.metric(setup, f'brama_session_cache_total{{result="{result}"}}') for result in ("hit", "miss"))
