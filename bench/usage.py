"""CPU time and memory of a process with all its children, as the kernel tells in /proc."""

import dataclasses
import os
import pathlib

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """The process and its living descendants."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields:
                parents.setdefault(int(fields[1]), []).append(int(entry))
    found, new = [], [root]
    while new:
        pid = new.pop()
        found.append(pid)
        new.extend(parents.get(pid, []))
    return found


def cpu_us(root: int) -> float:
    """User and system time so far, in microseconds, of the process and its children, the ended ones too."""
    total = 0
    for pid in tree(root):
        fields = _stat(pid)
        # Fields 14 to 17 of proc(5): own user and system time, and that of children waited for.
        total += sum(int(ticks) for ticks in fields[11:15]) if fields else 0
    return total * TICK_US


@dataclasses.dataclass
class Memory:
    """In KiB: what is resident, and the share of it that is this tree's own (shared pages divided by their users)."""

    rss: int
    pss: int


def memory(root: int) -> Memory:
    """Memory of the process and its children."""
    rollups = [_rollup(pid) for pid in tree(root)]
    return Memory(*(sum(each.get(name, 0) for each in rollups) for name in ("Rss", "Pss")))


def peak_rss_kib(root: int) -> int:
    """The most that was resident since `forget_peak`, in KiB, children added up."""
    return sum(_status(pid, "VmHWM") for pid in tree(root))


def forget_peak(root: int) -> None:
    """Starts the count of the peak anew."""
    for pid in tree(root):
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def _stat(pid: int) -> list[str] | None:
    try:
        # The name in the second field may hold spaces and brackets: count from the last bracket.
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _rollup(pid: int) -> dict[str, int]:
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _status(pid: int, name: str) -> int:
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)
