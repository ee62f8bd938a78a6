"""What `tests/servers/*/prepare` has made ready: servers that are in no package, as jars."""

import os
import pathlib

from ..errors import Missing
from ..paths import ROOT, target_folder


def folder(name: str) -> pathlib.Path:
    """Where the jars of this server are. Absent: Missing, which says what to run."""
    servers = pathlib.Path(os.environ.get("BRAMA_TEST_SERVERS") or target_folder() / "test-servers")
    made = servers / name
    if not (made / "libs").is_dir():
        raise Missing(f"{name} is not prepared (tests/servers/{name}/prepare)")
    return made


def sources(name: str) -> pathlib.Path:
    """What belongs to this server in the repository."""
    return ROOT / "tests" / "servers" / name
