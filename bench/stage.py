"""Where servers stand: a folder of its own, free ports, and an end for every process, by its id, whatever happens."""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from . import usage
from .errors import BenchError

PATIENCE = 15.0
ROOM = 8 * 2**30
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Server:
    """A running product."""

    def __init__(self, name: str, process: subprocess.Popen, log: pathlib.Path, port: int | None = None):
        self.name, self.process, self.log, self.port = name, process, log, port

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def cpu_us(self) -> float:
        self.must_run()
        return usage.cpu_us(self.pid)

    def must_run(self) -> None:
        if self.process.poll() is not None:
            raise BenchError(f"{self.name} has ended with {self.process.returncode}; its log ends:\n{self.tail()}")

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else ""


class Stage(contextlib.AbstractContextManager):
    """Everything one dimension starts. Leaving it ends all."""

    def __init__(self, large: bool = False) -> None:
        """`large`: gigabytes will lie here, in memory where there is room, so that no disk is measured."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="brama-bench-", dir=_memory() if large else None))
        # Peers that give up root must reach what lies in here; nothing in it is secret.
        self.folder.chmod(0o755)
        self.servers: list[Server] = []

    def __exit__(self, kind, *_) -> None:
        if kind is not None and issubclass(kind, BenchError):
            self.tell_logs()
        for server in reversed(self.servers):
            end(server.process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tell_logs(self) -> None:
        """The end of each server's log, before the logs are gone."""
        for server in self.servers:
            if server.tail():
                print(f"-- log of {server.name}, its end:\n{server.tail()}", file=sys.stderr, flush=True)

    def start(self, name: str, command: list, *, port: int | None = None, tied: bool = True, **popen) -> Server:
        """Starts a process; its output goes to a log of its own. `tied`: should this run be killed, it ends too."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [str(word) for word in command],
                **{"stdin": subprocess.DEVNULL, "stdout": sink, "stderr": sink, **popen},
                cwd=self.folder,
                preexec_fn=_end_with_parent if tied else None,
            )
        server = Server(name, process, log, port)
        self.servers.append(server)
        return server

    def listening(self, server: Server) -> Server:
        """Waits until its port takes connections."""
        until(lambda: _connects(server), f"{server.name} does not listen on port {server.port}", server)
        return server

    def stop(self, server: Server) -> None:
        """Ends one before the others."""
        end(server.process)
        self.servers.remove(server)


def end(process: subprocess.Popen) -> None:
    """Ends a process and what it has started: asked first, then by force."""
    children = usage.tree(process.pid)[1:] if process.poll() is None else []
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def until(true, otherwise: str, server: Server | None = None, patience: float = PATIENCE) -> None:
    """Waits for a condition."""
    deadline = time.monotonic() + patience
    while not true():
        if server:
            server.must_run()
        if time.monotonic() > deadline:
            raise BenchError(otherwise + (f"; its log ends:\n{server.tail()}" if server else ""))
        time.sleep(0.01)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _connects(server: Server) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", server.port)) == 0


def _memory() -> str | None:
    """A folder in memory with room for gigabytes, if there is one."""
    shared = "/dev/shm"
    return shared if os.path.isdir(shared) and shutil.disk_usage(shared).free >= ROOM else None


def _end_with_parent() -> None:
    """Should this run be killed, the kernel ends its servers."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
