"""`bench/run`."""

import contextlib
import resource
import signal
import subprocess
import sys

from . import build, paths, results, settings
from .compare import Run
from .dimensions import DIMENSIONS
from .errors import BenchError, Missing


def main(arguments: list[str]) -> int:
    asked = settings.read(arguments, DIMENSIONS)
    # So that whatever was started is ended when this run is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to stop"))
    _open_files()
    try:
        if asked.install:
            subprocess.run([str(paths.ROOT / "bench" / "install")], check=True)
        binaries = build.build(asked.profile, asked.binaries)
        about = {
            **results.machine(), "rounds": asked.rounds, "seconds": asked.seconds, "quick": asked.quick,
            "connections": asked.connections, "profile": asked.profile, "revision": _revision(),
        }
        raw = results.Results(asked.out, about)
        with contextlib.closing(raw):
            runs = (Run(asked, binaries, raw, name, DIMENSIONS[name]) for name in asked.dimensions)
            failed = [run.dimension for run in runs if not _one(run.dimension, run)]
    except (BenchError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"\nraw results: {asked.out}   (bench/report {asked.out})")
    if failed:
        print(f"bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _one(name: str, run: Run) -> bool:
    """One dimension. A failure is told and fails the run in the end, after the others were measured."""
    print(f"\n== {name}: {DIMENSIONS[name].TITLE}", flush=True)
    try:
        DIMENSIONS[name].run(run)
    except Missing as missing:
        run.note(str(missing))
    except (BenchError, OSError) as error:
        print(f"bench: {name}: {error}", file=sys.stderr, flush=True)
        run.note(f"failed: {str(error).splitlines()[0]}")
        return False
    return True


def _open_files() -> None:
    """As many as we may have, for us and all we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _revision() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=paths.ROOT, capture_output=True, text=True,
                          check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
