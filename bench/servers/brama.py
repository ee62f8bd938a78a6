"""Brama: its configuration, its start, and sessions for it."""

import dataclasses
import pathlib
import subprocess

from .. import load
from ..build import Binaries
from ..errors import BenchError
from ..stage import Server, Stage, free_port, until

# What goes between [portal] and the providers; everything else is as Brama comes.
CONFIG = """
{listeners}
[admin]
address = "127.0.0.1:{admin}"
[portal]
public_url = "{public_url}"
[directory]
file = "{database}"
{directory}
[telemetry]
log_filter = "warn"
audit_log = "off"
[limits]
keep_alive_timeout = "600s"
write_timeout = "600s"
{session}
[upstream.app]
targets = ["{target}"]
{routes}
{providers}
"""
ROUTE = '[[route]]\npath = "/"\nupstream = "app"\nmax_body = 0\n'


@dataclasses.dataclass
class Setup:
    """A Brama that is configured and not yet started."""

    name: str
    port: int
    admin: int
    config: pathlib.Path
    database: pathlib.Path


@dataclasses.dataclass
class Sessions:
    """Sessions written straight into a store."""

    cookie: str
    ids: pathlib.Path

    def first(self) -> str:
        """One of them, as a Cookie field."""
        with self.ids.open() as file:
            return f"{self.cookie}={file.readline().strip()}"


def set_up(stage: Stage, target: str, providers: str, *, name: str = "brama", port: int | None = None,
           listener: str = "", tls: bool = False, session: str = "", directory: str = "", routes: str = ROUTE,
           database: pathlib.Path | None = None) -> Setup:
    """Writes a configuration. `listener` are further lines of its [[listen]], `session` whole tables, `directory`
    the rest of that table, `database` that of a Brama that has ended."""
    port, admin = port or free_port(), free_port()
    folder = stage.folder / name
    folder.mkdir()
    public_url = f"{'https' if tls else 'http'}://localhost:{port}"
    listeners = f'[[listen]]\naddress = "127.0.0.1:{port}"\n{listener}'
    config = folder / "brama.toml"
    database = database or folder / "brama.db"
    config.write_text(CONFIG.format(
        listeners=listeners, admin=admin, public_url=public_url, database=database, directory=directory, session=session,
        target=target, routes=routes, providers=providers))
    return Setup(name, port, admin, config, database)


def in_redis(stage: Stage, binaries: Binaries, store: Server) -> str:
    """The rest of a [session] that is kept in this Redis, and a sealing key that replicas share."""
    keys = stage.folder / "sealing.keys"
    if not keys.exists():
        made = subprocess.run([binaries.brama, "keys", "new"], capture_output=True, text=True, check=True)
        keys.touch(0o600)
        keys.write_text(made.stdout)
    return (f'store = "redis"\n[session.redis]\nurl = "redis://127.0.0.1:{store.port}/0"\n'
            f'[keys]\nsealing_file = "{keys}"\n')


def migrate(binaries: Binaries, setup: Setup) -> None:
    """Makes the tables of the accounts, which a start would do behind the first sign-in."""
    done = subprocess.run([binaries.brama, "directory", "migrate", "--config", setup.config], capture_output=True,
                          text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise BenchError(f"the tables of {setup.name} cannot be made:\n{done.stderr}")


def start(stage: Stage, binaries: Binaries, setup: Setup) -> Server:
    """Starts it and waits until it is ready."""
    server = stage.start(setup.name, [binaries.brama, "serve", "--config", setup.config], port=setup.port)
    until(lambda: _is_ready(setup), f"{setup.name} is not ready", server)
    return server


def write_sessions(binaries: Binaries, setup: Setup, count: int, *, seen_ahead: int = 0) -> Sessions:
    """Writes sessions into the store; before the start where it is the embedded one. No use of theirs is noted in the
    store for `seen_ahead` seconds."""
    ids = setup.config.parent / "ids"
    command = [binaries.sessions, "--config", setup.config, "--count", count, "--ids", ids,
               "--seen-ahead", seen_ahead]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=1800)
    if done.returncode != 0:
        said = subprocess.run([binaries.brama, "check", "--config", setup.config], capture_output=True, text=True,
                              check=False)
        raise BenchError(f"cannot write sessions:\n{done.stderr[-2000:]}{said.stdout}{said.stderr}")
    return Sessions(done.stdout.split()[-1], ids)


def metric(setup: Setup, line: str) -> float:
    """A value of /metrics by name and labels; 0 while there is none."""
    _, text = load.get(f"http://127.0.0.1:{setup.admin}/metrics")
    found = (row.rsplit(" ", 1) for row in text.decode().splitlines() if row.startswith(line + " "))
    return sum(float(value) for _, value in found)


def _is_ready(setup: Setup) -> bool:
    try:
        return load.get(f"http://127.0.0.1:{setup.admin}/ready")[0] == 200
    except OSError:
        return False
