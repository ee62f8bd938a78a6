"""Brama and the two helpers, built; the public tools, found."""

import dataclasses
import os
import pathlib
import shutil
import subprocess

from .errors import BenchError, Missing
from .paths import ROOT, target_folder

HELPERS = ("bench-client", "bench-sessions")


@dataclasses.dataclass
class Binaries:
    """Paths of what was built."""

    brama: pathlib.Path
    client: pathlib.Path
    sessions: pathlib.Path


def build(profile: str, given: pathlib.Path | None) -> Binaries:
    """Builds everything with the profile asked for, or takes it from the folder named."""
    folder = given
    if folder is None:
        _cargo(profile, "full", ["brama"])
        _cargo(profile, "full,bench", HELPERS)
        folder = target_folder() / {"dev": "debug"}.get(profile, profile)
    binaries = Binaries(*(folder / name for name in ("brama", *HELPERS)))
    for path in dataclasses.astuple(binaries):
        if not os.access(path, os.X_OK):
            raise BenchError(f"{path} is not there: build it, or leave out --binaries")
    return binaries


def _cargo(profile: str, features: str, names) -> None:
    command = ["cargo", "build", "--locked", "--profile", profile, "--features", features]
    command += [word for name in names for word in ("--bin", name)]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise BenchError("the build failed")


def tool(name: str) -> str:
    """The path of a tool or a peer. Absent: Missing, which says what to install."""
    go = pathlib.Path(os.environ.get("GOPATH") or pathlib.Path.home() / "go") / "bin"
    extra = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", os.environ.get("GOBIN", ""), str(go)]
    path = shutil.which(name, path=os.pathsep.join(part for part in extra if part))
    if path is None:
        raise Missing(f"{name} is not installed (bench/install)")
    return path
