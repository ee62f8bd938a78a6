"""An authenticated request over a kept-alive HTTP/1.1 connection."""

import dataclasses

from .. import load, login
from ..compare import Product, Run, compare, present
from ..errors import Missing
from ..servers import apache, brama, haproxy, nginx, oauth2_proxy, redis, simulators
from ..stage import Server, Stage, free_port
from .common import under_wrk

TITLE = "authenticated HTTP/1.1 request, keep-alive, small answer"
ABOUT = """
Everybody stands before the same app and is asked by `wrk` over the same number of kept-alive connections. nginx and
HAProxy only proxy: no auth at all. All others have a session made by a real sign-in at the same simulated provider.
`nginx (again)` is the very process of `nginx`, measured a second time: how far its ratio is from 1 is the noise.
Where an auth server or a store works for the product, its share is in the sum and shown.
"""
PRIMARY, REFERENCE = "cpu_us", "nginx"


def run(run: Run) -> None:
    with Stage() as stage:
        app = nginx.app(stage)
        store = redis.start(stage)
        peer = nginx.proxy(stage, app.address)
        gateway, cookie = signed_in_brama(stage, run, app)
        products = [
            under_wrk(run, "nginx", peer),
            under_wrk(run, "nginx (again)", peer),
            under_wrk(run, "brama", gateway, cookie),
        ]
        if run.settings.against:
            products.append(under_wrk(run, "brama (against)", *signed_in_brama(stage, other(run), app, name="against")))
        products += present(
            run,
            lambda: [under_wrk(run, "haproxy", haproxy.proxy(stage, app.address))],
            lambda: [behind_auth_request(stage, run, app, gateway, cookie, "brama")],
            lambda: peers_with_oauth2_proxy(stage, run, app, store),
            lambda: [with_mod_auth_openidc(stage, run, app, store)],
        )
        compare(run, "keep-alive", products)


def signed_in_brama(stage: Stage, run: Run, app: Server, target: str = "", name: str = "brama") -> tuple[Server, str]:
    """Brama with embedded sessions before the app, and the cookie of a real sign-in."""
    port = free_port()
    providers = simulators.start(stage, run.binaries, port, f"simulators-of-{name}")
    setup = brama.set_up(stage, target or f"http://{app.address}", providers.toml_of("oidc"), port=port, name=name)
    server = brama.start(stage, run.binaries, setup)
    return server, login.sign_in(server.url + "/", nginx.HELLO)


def other(run: Run) -> Run:
    """The same run with the other build of Brama."""
    return dataclasses.replace(run, binaries=dataclasses.replace(run.binaries, brama=run.settings.against))


def behind_auth_request(stage: Stage, run: Run, app: Server, auth: Server, cookie: str, name: str, **more) -> Product:
    """nginx that asks `auth` about every request."""
    status, _ = load.get(f"{auth.url}/oauth2/auth", {"Cookie": cookie})
    if status == 404:
        raise Missing(f"{name} has no /oauth2/auth: not in this build")
    front = nginx.auth_request(stage, app.address, auth.address, f"localhost:{auth.port}", f"nginx-to-{auth.name}")
    return under_wrk(run, f"nginx auth_request + {name}", front, cookie, helpers={"auth": auth, **more})


def peers_with_oauth2_proxy(stage: Stage, run: Run, app: Server, store: Server) -> list[Product]:
    """oauth2-proxy proxying by itself, and behind nginx."""
    port = free_port()
    providers = simulators.start(stage, run.binaries, port, "simulators-of-oauth2-proxy")
    server = oauth2_proxy.start(stage, app.address, store, providers, port)
    cookie = login.sign_in(server.url + "/", nginx.HELLO)
    return [
        under_wrk(run, "oauth2-proxy + redis", server, cookie, helpers={"store": store}),
        behind_auth_request(stage, run, app, server, cookie, "oauth2-proxy + redis", store=store),
    ]


def with_mod_auth_openidc(stage: Stage, run: Run, app: Server, store: Server) -> Product:
    """Apache."""
    port = free_port()
    providers = simulators.start(stage, run.binaries, port, "simulators-of-apache")
    server = apache.start(stage, app.address, store, providers, port)
    cookie = login.sign_in(server.url + "/", nginx.HELLO)
    return under_wrk(run, "mod_auth_openidc + redis", server, cookie, helpers={"store": store})
