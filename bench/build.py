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
        cargo = ["cargo", "build", "--locked", "--profile", profile, "--features", "full"]
        targets = ["--bin", "brama"] + [word for name in HELPERS for word in ("--example", name)]
        if subprocess.run(cargo + targets, cwd=ROOT, check=False).returncode != 0:
            raise BenchError("the build failed")
        folder = target_folder() / {"dev": "debug"}.get(profile, profile)
    helpers = folder / "examples" if (folder / "examples").is_dir() else folder
    binaries = Binaries(folder / "brama", *(helpers / name for name in HELPERS))
    for path in dataclasses.astuple(binaries):
        if not os.access(path, os.X_OK):
            raise BenchError(f"{path} is not there: build it, or leave out --binaries")
    return binaries


def tool(name: str) -> str:
    """The path of a tool or a peer. Absent: Missing, which says what to install."""
    go = pathlib.Path(os.environ.get("GOPATH") or pathlib.Path.home() / "go") / "bin"
    extra = [os.environ.get("PATH", ""), "/usr/sbin", "/sbin", os.environ.get("GOBIN", ""), str(go)]
    path = shutil.which(name, path=os.pathsep.join(part for part in extra if part))
    if path is None:
        raise Missing(f"{name} is not installed (bench/install)")
    return path
