"""An authenticated request over HTTP/2."""

from .. import certificate, load
from ..compare import Product, Run, compare, present
from ..errors import BenchError
from ..servers import haproxy, nginx
from ..stage import Server, Stage
from .common import written_brama

TITLE = "authenticated HTTP/2 request, in the clear and over TLS 1.3"
ABOUT = """
`h2load` with 10 connections of 10 requests at once each; the app speaks HTTP/1.1. nginx and HAProxy only proxy.
"""
PRIMARY, REFERENCE = "cpu_us", "nginx"
CLIENTS, STREAMS = 10, 10


def run(run: Run) -> None:
    with Stage() as stage:
        app = nginx.app(stage)
        gateway, cookie = written_brama(stage, run, f"http://{app.address}", listener="h2c = true\n")
        products = [
            _product(run, "nginx", nginx.proxy(stage, app.address, listen="http2")),
            _product(run, "brama", gateway, cookie),
        ] + present(run, lambda: [_product(run, "haproxy", haproxy.proxy(stage, app.address, bind="proto h2"))])
        compare(run, "in the clear", products)
    with Stage() as stage:
        app = nginx.app(stage)
        cert = certificate.make(stage)
        gateway, cookie = written_brama(stage, run, f"http://{app.address}", listener=cert.for_brama(), tls=True)
        peer = nginx.proxy(stage, app.address, listen="ssl http2", extra=cert.for_nginx())
        products = [_product(run, "nginx", peer, tls=True), _product(run, "brama", gateway, cookie, tls=True)]
        products += present(run, lambda: [
            _product(run, "haproxy", haproxy.proxy(stage, app.address, bind=cert.for_haproxy("h2")), tls=True)])
        compare(run, "over TLS", products)


def _product(run: Run, name: str, server: Server, cookie: str = "", *, tls: bool = False) -> Product:
    url = f"{'https' if tls else 'http'}://localhost:{server.port}/"
    headers = {"Cookie": cookie} if cookie else {}

    def check() -> None:
        status, body = load.curl(url, headers, "--http2" if tls else "--http2-prior-knowledge")
        if status != 200 or body != nginx.HELLO:
            raise BenchError(f"{url} answers {status}: {body[:200]!r}")

    return Product(name, server, lambda: load.h2load(url, run.settings.seconds, CLIENTS, STREAMS, headers), check=check)
