"""A TLS 1.3 handshake with one small request."""

from .. import certificate, load
from ..compare import Product, Run, compare, present
from ..servers import haproxy, nginx
from ..stage import Server, Stage
from .common import ask, written_brama

TITLE = "TLS 1.3 handshake, full and resumed, each with one small request"
ABOUT = """
Our own client (`bench-client handshake`), because `openssl s_time` does not resume TLS 1.3 and `h2load` cannot say
whether it did: each connection agrees keys by the one group offered, makes one request (in whose answer the tickets
come) and closes. It fails unless all handshakes were of the kind measured. The certificate is ECDSA on P-256. In the
post-quantum table nginx is measured with its classical handshake, because the OpenSSL of this system knows no other.
"""
PRIMARY, REFERENCE = "cpu_us", "nginx"


def run(run: Run) -> None:
    with Stage() as stage:
        app = nginx.app(stage)
        cert = certificate.make(stage)
        gateway, cookie = written_brama(stage, run, f"http://{app.address}", listener=cert.for_brama(), tls=True)
        servers = [("nginx", nginx.proxy(stage, app.address, listen="ssl", extra=cert.for_nginx()), "")]
        servers += [("brama", gateway, cookie)]
        servers += present(run, lambda: [
            ("haproxy", haproxy.proxy(stage, app.address, bind=cert.for_haproxy("http/1.1")), "")])

        def products(*words: str) -> list[Product]:
            return [_product(run, cert, name, server, cookie, words) for name, server, cookie in servers]

        compare(run, "full, X25519", products("--group", "x25519"))
        compare(run, "resumed, X25519", products("--group", "x25519", "--resume"))
        classical = _product(run, cert, *servers[0], ("--group", "x25519"))
        quantum = _product(run, cert, *servers[1], ("--group", "x25519mlkem768"))
        compare(run, "full, X25519MLKEM768 (nginx: X25519)", [classical, quantum])


def _product(run: Run, cert: certificate.Certificate, name: str, server: Server, cookie: str, words) -> Product:
    command = ("handshake", *ask(server, "/", cookie), "--ca", cert.cert, "--seconds", run.settings.seconds, *words)
    return Product(name, server, lambda: load.client(run.binaries, *command), unit="handshakes")
