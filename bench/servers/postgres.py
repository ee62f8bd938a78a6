"""PostgreSQL for the accounts: as Debian packages it, a commit on the disk before it counts."""

import os
import pathlib
import pwd
import shutil
import subprocess

from ..errors import BenchError, Missing
from ..stage import Server, Stage, free_port, until

PACKAGED = pathlib.Path("/usr/lib/postgresql")


def start(stage: Stage) -> Server:
    """An empty one, with a database `postgres` and a role that needs no password here."""
    programs, user = _programs(), _user()
    folder = stage.folder / "postgres"
    folder.mkdir()
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    # PostgreSQL refuses to run as root: then it is the user that the package brings.
    borrowed = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    made = subprocess.run([programs / "initdb", "-D", folder / "data", "-U", "brama", "-A", "trust", "-E", "UTF8"],
                          capture_output=True, text=True, check=False, cwd=folder, **borrowed)
    if made.returncode != 0:
        raise BenchError(f"initdb fails:\n{made.stderr[-2000:]}")
    port = free_port()
    command = [programs / "postgres", "-D", folder / "data", "-p", port, "-c", "listen_addresses=localhost",
               "-c", "unix_socket_directories="]
    server = stage.start("postgres", command, port=port, **borrowed)
    until(lambda: "ready to accept connections" in server.tail(), "postgres does not start", server, 60)
    return server


def toml(server: Server) -> str:
    """The [directory] of accounts kept there."""
    return (f'engine = "postgres"\n[directory.postgres]\nurl = "postgres://localhost:{server.port}/postgres"\n'
            f'username = "brama"\n')


def _programs() -> pathlib.Path:
    """Where they are: Debian keeps them off the PATH, by version."""
    folders = sorted(PACKAGED.glob("*/bin"), reverse=True)
    folders += [pathlib.Path(found).parent for found in [shutil.which("initdb")] if found]
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise Missing("postgresql is not installed (bench/install)")


def _user() -> pwd.struct_passwd | None:
    """Who runs it when we are root."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None
