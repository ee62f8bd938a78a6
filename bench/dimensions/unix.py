"""The same as h1 with the app on a Unix socket."""

from ..compare import Run, compare, present
from ..servers import haproxy, nginx
from ..stage import Stage
from .common import under_wrk
from .h1 import signed_in_brama

TITLE = "authenticated HTTP/1.1 request, the app on a Unix socket"
ABOUT = """
As `h1`, but the app is reached over a Unix socket by all three. `nginx over TCP` is the reference: the aim is set
against the usual way.
"""
PRIMARY, REFERENCE = "cpu_us", "nginx over TCP"


def run(run: Run) -> None:
    with Stage() as stage:
        app = nginx.app(stage)
        path = nginx.socket(stage)
        gateway, cookie = signed_in_brama(stage, run, app, target=f"unix:{path}")
        products = [
            under_wrk(run, "nginx over TCP", nginx.proxy(stage, app.address)),
            under_wrk(run, "nginx", nginx.proxy(stage, f"unix:{path}", name="nginx-unix")),
            under_wrk(run, "brama", gateway, cookie),
        ]
        products += present(
            run, lambda: [under_wrk(run, "haproxy", haproxy.proxy(stage, f"unix@{path}"))])
        compare(run, "Unix socket", products)
