"""Raw figures on disk: one line a figure (TSV), and what they were measured on (JSON)."""

import dataclasses
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess

from .build import tool
from .errors import Missing

COLUMNS = ("dimension", "case", "product", "round", "metric", "value")
VERSIONS = {
    "nginx": ["-v"], "haproxy": ["-v"], "apache2": ["-v"], "redis-server": ["--version"],
    "wrk": ["-v"], "h2load": ["--version"], "openssl": ["version"],
}


@dataclasses.dataclass(frozen=True)
class Figure:
    """One value of one product in one round."""

    dimension: str
    case: str
    product: str
    round: int
    metric: str
    value: float


class Results:
    """The folder of a run."""

    def __init__(self, folder: pathlib.Path, about: dict):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.figures: list[Figure] = []
        self.notes: list[dict] = []
        self.about = {**about, "started": _now(), "load_at_start": os.getloadavg()[0], "steal_at_start": _steal()}
        (folder / "figures.tsv").write_text("\t".join(COLUMNS) + "\n")
        self.write_about()

    def add(self, dimension: str, case: str, product: str, number: int, values: dict[str, float]) -> None:
        """Keeps figures at once, so that an aborted run loses none."""
        new = [Figure(dimension, case, product, number, metric, float(value)) for metric, value in values.items()]
        self.figures += new
        with (self.folder / "figures.tsv").open("a") as file:
            file.writelines("\t".join(map(str, dataclasses.astuple(figure))) + "\n" for figure in new)

    def note(self, dimension: str, text: str) -> None:
        """Something the tables must say: a product that is missing, a size that was cut."""
        print(f"  note: {text}", flush=True)
        self.notes.append({"dimension": dimension, "text": text})
        self.write_about()

    def write_about(self, **more) -> None:
        about = {**self.about, "notes": self.notes, **more}
        (self.folder / "about.json").write_text(json.dumps(about, indent=2) + "\n")

    def close(self) -> None:
        self.write_about(ended=_now(), load_at_end=os.getloadavg()[0], steal_at_end=_steal())


def machine() -> dict:
    """What the figures were measured on."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "versions": {
            **{name: _version(name, words) for name, words in VERSIONS.items()},
            "oauth2-proxy": _oauth2_proxy(),
        },
    }


def load(folder: pathlib.Path) -> tuple[dict, list[Figure]]:
    """Reads a folder back."""
    about = json.loads((folder / "about.json").read_text())
    lines = (folder / "figures.tsv").read_text().splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return about, [Figure(a, b, c, int(d), e, float(f)) for a, b, c, d, e, f in rows]


def _version(name: str, words: list[str]) -> str:
    try:
        done = subprocess.run([tool(name), *words], capture_output=True, text=True, check=False)
    except Missing:
        return "not installed"
    first = next((line for line in (done.stdout + done.stderr).splitlines() if line.strip()), "")
    found = re.search(r"\d+\.\d+(\.\d+)?", first)
    return found[0] if found else first.strip()


def _oauth2_proxy() -> str:
    """It does not know its version when Go has built it, but the build information in the file does."""
    try:
        file = pathlib.Path(tool("oauth2-proxy")).read_bytes()
    except Missing:
        return "not installed"
    found = re.search(rb"mod\tgithub\.com/oauth2-proxy/oauth2-proxy/v\d+\tv([\d.]+)", file)
    return found[1].decode() if found else "unknown"


def _steal() -> int:
    """Ticks that the hypervisor gave to others, so far."""
    return int(pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[8])


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
