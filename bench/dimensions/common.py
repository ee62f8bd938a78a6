"""What several dimensions do alike."""

import itertools
import typing

from .. import load, login
from ..compare import Product, Run
from ..errors import BenchError
from ..servers import brama, nginx, simulators
from ..stage import Server, Stage, free_port


def must_answer(url: str, headers: dict[str, str], status: int = 200, body: bytes | None = nginx.HELLO):
    """A check: the product answers with what the app says, and not with a sign-in page that is quick to make."""

    def check() -> None:
        got = load.get(url, headers)
        if got[0] != status or (body is not None and got[1] != body):
            raise BenchError(f"{url} answers {got[0]}, not {status}: {got[1][:200]!r}")

    return check


def under_wrk(run: Run, name: str, server: Server, cookie: str = "", *, path: str = "/", helpers=None,
              status: int = 200, body: bytes | None = nginx.HELLO) -> Product:
    """A product under wrk with kept-alive connections."""
    url, headers = server.url + path, {"Cookie": cookie} if cookie else {}
    return Product(
        name, server, lambda: load.wrk(url, run.settings.seconds, run.settings.connections, headers),
        helpers=helpers or {}, check=must_answer(url, headers, status, body))


def written_brama(stage: Stage, run: Run, target: str, *, count: int = 1, **setup) -> tuple[Server, str]:
    """Brama with embedded sessions that were written straight into the store, and the cookie of one."""
    providers = simulators.start(stage, run.binaries, free_port(), f"simulators-{len(stage.servers)}").toml_of("oidc")
    made = brama.set_up(stage, target, providers, **setup)
    sessions = brama.write_sessions(run.binaries, made, count)
    return brama.start(stage, run.binaries, made), sessions.first()


# A trusted proxy tells who calls: Brama lets one address begin 120 sign-ins a minute.
TRUSTING = '[forwarded]\ntrusted_proxies = ["127.0.0.0/8"]\n'


def strangers() -> typing.Iterator[str]:
    """Addresses that nobody has signed in from."""
    return (f"198.18.{high}.{low}" for high in itertools.count() for low in range(1, 255))


def sign_in_from(server: Server, address: str) -> None:
    """A browser without cookies asks for a page and signs in on the way."""
    page = login.Browser({"X-Forwarded-For": address}).open(server.url + "/")
    if page != nginx.HELLO:
        raise BenchError(f"{server.name}: a sign-in did not reach the app but: {page[:300]!r}")


def ask(server: Server, path: str = "/", cookie: str = "") -> list[str]:
    """The words by which our client is told whom to ask for what."""
    words = ["--address", server.address, "--host", f"localhost:{server.port}", "--path", path]
    return words + (["--header", f"Cookie: {cookie}"] if cookie else [])
