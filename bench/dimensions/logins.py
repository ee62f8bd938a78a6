"""A whole sign-in."""

import functools

from ..compare import Product, Run, compare, present
from ..servers import apache, brama, nginx, oauth2_proxy, redis, simulators
from ..stage import Server, Stage, free_port
from .common import TRUSTING, sign_in_from, strangers

TITLE = "CPU of a complete sign-in"
ABOUT = """
A browser without cookies asks for a page, follows the redirects to the simulated provider (where the person is signed
in already) and back, and gets the page: two requests to the product before the page, and the product's own calls to
the provider. The account, the session and the event are written in that time. Each comes from an address of its own,
told by a trusted proxy, because Brama lets one address begin 120 a minute.
"""
PRIMARY, REFERENCE = "cpu_ms", "mod_auth_openidc + redis"
KINDS = ("oidc", "google", "facebook", "x", "cognito", "github", "oauth2")


def run(run: Run) -> None:
    count = run.settings.scaled(100, 5)
    with Stage() as stage:
        app = nginx.app(stage)
        store = redis.start(stage)
        products = [_brama(stage, run, app, kind, count) for kind in KINDS]
        products += present(
            run,
            lambda: [_peer(stage, run, app, store, "mod_auth_openidc + redis", apache.start, count)],
            lambda: [_peer(stage, run, app, store, "oauth2-proxy + redis", oauth2_proxy.start, count)],
        )
        compare(run, "one sign-in", products)


def _brama(stage: Stage, run: Run, app: Server, kind: str, count: int) -> Product:
    port = free_port()
    providers = simulators.start(stage, run.binaries, port, f"simulators-{kind}")
    setup = brama.set_up(stage, f"http://{app.address}", providers.toml_of(kind), name=f"brama-{kind}", port=port,
                         session=TRUSTING)
    return _product(f"brama, {kind}", brama.start(stage, run.binaries, setup), count)


def _peer(stage: Stage, run: Run, app: Server, store: Server, name: str, start, count: int) -> Product:
    port = free_port()
    providers = simulators.start(stage, run.binaries, port, f"simulators-{start.__module__}")
    server = start(stage, app.address, store, providers, port)
    return _product(name, server, count, {"store": store})


def _product(name: str, server: Server, count: int, helpers: dict | None = None) -> Product:
    return Product(name, server, functools.partial(_sign_in, server, count, strangers()), helpers or {},
                   unit="logins", metric="cpu_ms", scale=1e-3)


def _sign_in(server: Server, count: int, addresses) -> dict:
    for _ in range(count):
        sign_in_from(server, next(addresses))
    return {"logins": count}
