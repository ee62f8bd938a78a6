"""Large bodies, down and up."""

import pathlib

from .. import load, usage
from ..compare import Product, Run, compare, present
from ..errors import BenchError
from ..servers import haproxy, nginx
from ..stage import Server, Stage, free_port
from .common import written_brama

TITLE = "1 GiB down and up: CPU and peak memory"
ABOUT = """
One `curl` takes or sends 1 GiB through each. The app gives a file by sendfile, and takes a body and forgets it. nginx
streams both ways (no request buffering, no temporary file). Peak memory is what the kernel saw resident at most.
"""
PRIMARY, REFERENCE = "cpu_s_per_gib", "nginx"
QUICK_BYTES = 64 * 2**20


def run(run: Run) -> None:
    size = run.settings.scaled(nginx.BIG_BYTES, QUICK_BYTES)
    with Stage() as stage:
        app = nginx.app(stage)
        # Only its length is of interest: nobody reads zeros from a disk.
        with (stage.folder / "big").open("wb") as big:
            big.truncate(size)
        compare(run, "download", _products(stage, run, app, lambda server, cookie: _download(server, cookie, size)))
    with Stage() as stage:
        app = taking_app(stage, run)
        body = stage.folder / "body"
        with body.open("wb") as file:
            file.truncate(size)
        compare(run, "upload", _products(stage, run, app, lambda server, cookie: _upload(server, cookie, body)))


def taking_app(stage: Stage, run: Run) -> Server:
    """Our client's own app, which takes bodies and speaks WebSocket."""
    port = free_port()
    return stage.listening(
        stage.start("app", [run.binaries.client, "app", "--address", f"127.0.0.1:{port}"], port=port))


def _products(stage: Stage, run: Run, app: Server, load_of) -> list[Product]:
    gateway, cookie = written_brama(stage, run, f"http://{app.address}")
    products = [
        _product("nginx", nginx.proxy(stage, app.address), "", load_of),
        _product("brama", gateway, cookie, load_of),
    ]
    return products + present(run, lambda: [_product("haproxy", haproxy.proxy(stage, app.address), "", load_of)])


def _product(name: str, server: Server, cookie: str, load_of) -> Product:
    def measured() -> dict:
        usage.forget_peak(server.pid)
        size = load_of(server, cookie)
        return {"gib": size / 2**30, "peak_mib": usage.peak_rss_kib(server.pid) / 1024}

    return Product(name, server, measured, unit="gib", metric="cpu_s_per_gib", scale=1e-6)


def _download(server: Server, cookie: str, size: int) -> int:
    status, told = load.curl(f"{server.url}/big", {"Cookie": cookie} if cookie else {}, "-o", "/dev/null",
                             "-w", "%{size_download}\n%{http_code}", patience=300)
    if status != 200 or int(told) != size:
        raise BenchError(f"{server.name}: a download of {size} bytes ended with {status} after {told.decode()}")
    return size


def _upload(server: Server, cookie: str, body: pathlib.Path) -> int:
    size = body.stat().st_size
    status, told = load.curl(f"{server.url}/sink", {"Cookie": cookie, "Expect": ""} if cookie else {"Expect": ""},
                             "-T", str(body), patience=300)
    if status != 200 or int(told) != size:
        raise BenchError(f"{server.name}: an upload of {size} bytes ended with {status}: {told[:200]!r}")
    return size
