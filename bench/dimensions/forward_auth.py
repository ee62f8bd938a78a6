"""The decision alone, as another proxy asks for it."""

from .. import load, login
from ..compare import Run, compare, present
from ..errors import Missing
from ..servers import nginx, oauth2_proxy, redis, simulators
from ..stage import Stage, free_port
from .common import under_wrk
from .h1 import other, signed_in_brama

TITLE = "forward-auth decision alone (/oauth2/auth)"
ABOUT = """
`/oauth2/auth` asked directly, over kept-alive connections, with the cookie of a live session. The peer is nginx giving
a fixed 202 to everybody: the least an HTTP server can do.
"""
PRIMARY, REFERENCE = "cpu_us", "nginx, fixed 202"


def run(run: Run) -> None:
    with Stage() as stage:
        app = nginx.app(stage)
        products = [under_wrk(run, "nginx, fixed 202", nginx.fixed(stage), status=202, body=None)]

        def own():
            gateway, cookie = signed_in_brama(stage, run, app)
            return [_endpoint(run, "brama", gateway, cookie)]

        def against():
            if not run.settings.against:
                return []
            gateway, cookie = signed_in_brama(stage, other(run), app, name="against")
            return [_endpoint(run, "brama (against)", gateway, cookie)]

        def peer():
            port = free_port()
            providers = simulators.start(stage, run.binaries, port, "simulators-of-oauth2-proxy")
            store = redis.start(stage)
            server = oauth2_proxy.start(stage, app.address, store, providers, port)
            cookie = login.sign_in(server.url + "/", nginx.HELLO)
            return [_endpoint(run, "oauth2-proxy + redis", server, cookie, {"store": store})]

        compare(run, "decision", products + present(run, own, against, peer))


def _endpoint(run: Run, name: str, server, cookie: str, helpers=None):
    status, _ = load.get(f"{server.url}/oauth2/auth", {"Cookie": cookie})
    if status == 404:
        raise Missing(f"{name} has no /oauth2/auth: not in this build")
    return under_wrk(run, name, server, cookie, path="/oauth2/auth", helpers=helpers, status=202, body=None)
