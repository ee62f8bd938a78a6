"""Load: wrk, h2load and our own client, each giving a few figures."""

import json
import pathlib
import re
import subprocess
import urllib.error
import urllib.request

from .build import Binaries, tool
from .errors import BenchError

# Share of requests that may end with a closed connection.
TOLERATED = 0.001
LUA = pathlib.Path(__file__).resolve().parent / "lua"


def wrk(url: str, seconds: float, connections: int, headers: dict[str, str] | None = None, script=()) -> dict:
    """Requests as fast as they are answered. Gives requests, rps, p50_us, p99_us, p999_us."""
    fields = [word for name, value in (headers or {}).items() for word in ("-H", f"{name}: {value}")]
    lua, *arguments = script or (LUA / "report.lua",)
    command = [tool("wrk"), "-t1", f"-c{connections}", f"-d{seconds_of(seconds)}s", "-s", str(lua), *fields, url, "--"]
    printed = _run([*command, *map(str, arguments)], seconds)
    figures = json.loads(_found(r"^RESULT (.*)$", printed, "wrk"))
    # A connection closed between two requests is the right of a server; a wrong answer is not what is measured.
    if figures["wrong"] or figures["errors"] > figures["requests"] * TOLERATED:
        raise BenchError(f"wrk saw errors at {url}:\n{printed}")
    return figures


def h2load(url: str, seconds: float, clients: int, streams: int, headers: dict[str, str] | None = None) -> dict:
    """HTTP/2 requests as fast as they are answered. Gives requests, rps and mean latency."""
    fields = [word for name, value in (headers or {}).items() for word in ("-H", f"{name}: {value}")]
    command = [tool("h2load"), "-t1", f"-c{clients}", f"-m{streams}", f"-D{seconds_of(seconds)}", *fields, url]
    printed = _run(command, seconds)
    # In timed runs h2load counts what was still under way at the end as neither done nor failed.
    status = re.search(r"^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", printed, re.M)
    if not status or not int(status[1]) or any(int(status[each]) for each in (2, 3, 4)):
        raise BenchError(f"h2load saw errors at {url}:\n{printed}")
    if "Application protocol: h2" not in printed:
        raise BenchError(f"h2load did not speak HTTP/2 at {url}:\n{printed}")
    return {"requests": int(status[1]), "rps": float(_found(r"^finished in .*?, ([\d.]+) req/s", printed, "h2load"))}


def curl(url: str, headers: dict[str, str] | None = None, *flags: str, patience: float = 30.0) -> tuple[int, bytes]:
    """Status and body, by curl: for HTTP/2 and our own certificate. Redirects are not followed."""
    fields = [word for name, value in (headers or {}).items() for word in ("-H", f"{name}: {value}")]
    command = [tool("curl"), "-sSk", "--noproxy", "*", "-w", "\\n%{http_code}", *fields, *flags, url]
    body, _, status = _run(command, patience).rpartition("\n")
    return int(status), body.encode()


def client(binaries: Binaries, *words, patience: float = 120.0) -> dict:
    """A command of our own client."""
    return json.loads(_run([str(binaries.client), *map(str, words)], patience))


def get(url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body; redirects are not followed."""
    opener = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers=headers or {}), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def seconds_of(seconds: float) -> int:
    """wrk and h2load take whole seconds."""
    return max(1, round(seconds))


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def _run(command: list[str], seconds: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{command[0]} did not end") from error
    if done.returncode != 0:
        raise BenchError(f"{' '.join(command)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def _found(pattern: str, text: str, name: str) -> str:
    match = re.search(pattern, text, re.M)
    if not match:
        raise BenchError(f"cannot read what {name} prints:\n{text}")
    return match[1]
