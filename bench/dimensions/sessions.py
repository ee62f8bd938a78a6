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
Redis. Sessions are written straight into the store, as a sign-in would leave them; the embedded store lies in memory
where there is room, so that no disk is measured. That a session was used is noted in the store once a minute; this is
kept out, because it depends on how often people come and not on how many there are.
"""
PRIMARY, REFERENCE = "cpu_us", "brama, 1 session"
SIZES = (1, 10_000, 1_000_000)
QUICK_SIZES = (1, 1_000, 10_000)
UNCACHED = 64
SEEN_AHEAD = 4 * 3600
# With fewer, what is not of the sessions would count for much.
ENOUGH_FOR_BYTES = 10_000


def run(run: Run) -> None:
    with Stage(large=True) as stage:
        Comparison(stage, run).run(QUICK_SIZES if run.settings.quick else SIZES)


class Comparison:
    """Both tables, with what they share."""

    def __init__(self, stage: Stage, run: Run):
        self.stage, self.asked = stage, run
        self.target = f"http://{nginx.app(stage).address}"
        self.providers = simulators.start(stage, run.binaries, free_port()).toml_of("oidc")

    def run(self, sizes) -> None:
        written = {size: self.written(size) for size in sizes}
        cached = [self.cached(size, *written[size]) for size in sizes]
        compare(self.asked, "cached", cached)
        one, *large = cached
        for product in large:
            self.stage.stop(product.own)
        stored = [self.embedded(size, *written[size]) for size in sizes[1:]]
        stored += [self.redis(size) for size in sizes[1:]]
        compare(self.asked, "from the store", [one] + stored)

    def set_up(self, name: str, session: str, database=None) -> brama.Setup:
        """A Brama before the app."""
        return brama.set_up(
            self.stage, self.target, self.providers, name=name, session=f"[session]\n{session}", database=database)

    def written(self, size: int) -> tuple[brama.Setup, brama.Sessions]:
        """Sessions in an embedded store, with room in the cache for all: its shards fill unevenly, so a half more."""
        setup = self.set_up(f"cached-{size}", f"cache_capacity = {size * 3 // 2 + 10_000}\n")
        return setup, brama.write_sessions(self.asked.binaries, setup, size, seen_ahead=SEEN_AHEAD)

    def cached(self, size: int, setup: brama.Setup, sessions: brama.Sessions) -> Product:
        """All of them in memory."""
        server = brama.start(self.stage, self.asked.binaries, setup)
        before = usage.memory(server.pid)
        load.client(self.asked.binaries, "visit", "--address", server.address, "--host", f"localhost:{server.port}",
                    "--cookie", sessions.cookie, "--ids", sessions.ids, patience=1800)
        grown = (usage.memory(server.pid).rss - before.rss) * 1024
        more = {"bytes_each": grown / size} if size >= ENOUGH_FOR_BYTES else {}
        return self.product(f"brama, {size:,} session{'s' * (size > 1)}", setup, server, sessions, more)

    def embedded(self, size: int, written: brama.Setup, sessions: brama.Sessions) -> Product:
        """The same database, and hardly anything in memory."""
        setup = self.set_up(f"embedded-{size}", f"cache_capacity = {UNCACHED}\n", written.database)
        server = brama.start(self.stage, self.asked.binaries, setup)
        return self.product(f"brama, {size:,} sessions, embedded", setup, server, sessions)

    def redis(self, size: int) -> Product:
        """As many in Redis, and hardly anything in memory."""
        store = redis.start(self.stage, f"redis-{size}")
        kept = brama.in_redis(self.stage, self.asked.binaries, store)
        setup = self.set_up(f"redis-of-{size}", f"cache_capacity = {UNCACHED}\n{kept}")
        sessions = brama.write_sessions(self.asked.binaries, setup, size, seen_ahead=SEEN_AHEAD)
        server = brama.start(self.stage, self.asked.binaries, setup)
        return self.product(f"brama, {size:,} sessions, redis", setup, server, sessions, helpers={"store": store})

    def product(self, name: str, setup: brama.Setup, server: Server, sessions: brama.Sessions, more: dict | None = None,
                helpers: dict | None = None) -> Product:
        """A session at random for each request; how many were found in memory is counted."""
        script = (load.LUA / "random_session.lua", sessions.ids, sessions.cookie, f"localhost:{server.port}")
        asked = self.asked.settings

        def counted() -> dict:
            before = _found(setup)
            figures = load.wrk(server.url + "/", asked.seconds, asked.connections, script=script)
            hits, misses = (now - then for now, then in zip(_found(setup), before))
            return {**figures, **(more or {}), "hit_percent": 100 * hits / max(1, hits + misses)}

        check = must_answer(server.url + "/", {"Cookie": sessions.first()})
        return Product(name, server, counted, helpers or {}, check)


def _found(setup: brama.Setup) -> list[float]:
    """Hits and misses of the cache so far."""
    return [brama.metric(setup, f'brama_session_cache_total{{result="{result}"}}') for result in ("hit", "miss")]
