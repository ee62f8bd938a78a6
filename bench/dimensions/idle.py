"""What a connection costs that does nothing."""

import resource

from .. import certificate, held
from ..compare import Run
from ..servers import haproxy, nginx
from ..stage import Stage
from .common import ask, written_brama

TITLE = "memory of an idle kept-alive connection, plain and TLS"
ABOUT = """
`bench-client idle` opens 10,000 connections (fewer where the limit of open files says so), makes one request on each
and holds them. The figure is what the proportional set size (PSS) of the product's processes grew by, for each
connection; memory of the kernel is not in it. Each round starts the product afresh.
"""
PRIMARY, REFERENCE = "kib_each", "nginx"
WANTED = 10_000


def run(run: Run) -> None:
    # HAProxy reserves two files a connection, and all must hold the same number.
    limit = (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1_500) // 2
    count = run.settings.scaled(min(WANTED, limit), 200)
    if count < WANTED:
        run.note(f"{count:,} connections instead of {WANTED:,}" + ("" if run.settings.quick else ": open files"))

    def plain(start):
        def make(stage: Stage):
            server, cookie = start(stage, nginx.app(stage), None)
            return server, ["idle", *ask(server, "/", cookie), "--count", "COUNT", "plain"]
        return make

    def tls(start):
        def make(stage: Stage):
            cert = certificate.make(stage)
            server, cookie = start(stage, nginx.app(stage), cert)
            return server, ["idle", *ask(server, "/", cookie), "--count", "COUNT", "tls", "--ca", cert.cert]
        return make

    products = {"nginx": _nginx, "brama": lambda *words: _brama(run, *words), "haproxy": _haproxy}
    held.compare(run, "plain", count, {name: plain(start) for name, start in products.items()})
    held.compare(run, "TLS", count, {name: tls(start) for name, start in products.items()})


def _nginx(stage, app, cert):
    return nginx.proxy(stage, app.address, listen="ssl" if cert else "", extra=cert.for_nginx() if cert else ""), ""


def _haproxy(stage, app, cert):
    return haproxy.proxy(stage, app.address, bind=cert.for_haproxy("http/1.1") if cert else ""), ""


def _brama(run, stage, app, cert):
    listener = cert.for_brama() if cert else ""
    return written_brama(stage, run, f"http://{app.address}", listener=listener, tls=cert is not None)
