"""What stands for MongoDB: mongo-java-server, as in the tests, for MongoDB's own is in no package registry.

It speaks MongoDB's protocol and writes to a file, but is no MongoDB: what it costs itself says nothing. What Brama spends
on the way to it does.
"""

import subprocess

from ..build import tool
from ..stage import Server, Stage, until
from . import prepared


def start(stage: Stage) -> Server:
    """An empty one."""
    made = prepared.folder("mongodb")
    command = [tool("java"), "-Xmx512m", "-cp", f"{made / 'libs'}/*:{made / 'classes'}", "Server", 0,
               stage.folder / "mongodb.data"]
    # It ends when its standard input does.
    server = stage.start("mongodb", command, stdin=subprocess.PIPE)
    until(lambda: _port(server) is not None, "the server for MongoDB does not start", server, 60)
    server.port = _port(server)
    return server


def toml(server: Server) -> str:
    """The [directory] of accounts kept there."""
    return f'engine = "mongodb"\n[directory.mongodb]\nurl = "mongodb://localhost:{server.port}"\n'


def _port(server: Server) -> int | None:
    """The port it says it listens on."""
    lines = server.log.read_text(errors="replace").splitlines()
    said = [line.split()[1] for line in lines if line.startswith("listening ")]
    return int(said[0]) if said else None
