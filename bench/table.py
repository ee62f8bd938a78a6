"""Tables: medians over rounds, with their spread, and ratios to the reference of the same round."""

import dataclasses
import statistics

from .results import Figure

# Metric, heading, digits. Shown where a dimension has them, in this order.
COLUMNS = (
    ("cpu_us", "CPU µs", 1), ("cpu_us_auth", "of it auth server", 1), ("cpu_us_store", "of it store", 1),
    ("cpu_s_per_gib", "CPU s/GiB", 3), ("cpu_ms", "CPU ms", 2), ("cpu_ms_store", "of it store", 2),
    ("rps", "requests/s", 0), ("p50_us", "p50 µs", 0), ("p99_us", "p99 µs", 0),
    ("p999_us", "p99.9 µs", 0), ("added_p50_us", "p50 added µs", 0), ("kib_each", "KiB each", 2),
    ("bytes_each", "bytes each", 0), ("ms", "ms", 1), ("p99_ms", "p99 ms", 1), ("p50_ms", "p50 ms", 1),
    ("request_p99_ms", "p99 ms from request", 1),
    ("mib", "MiB", 2), ("peak_mib", "peak MiB", 1), ("rss_kib", "RSS KiB", 0), ("pss_kib", "PSS KiB", 0),
    ("hit_percent", "cache hits %", 1),
)


@dataclasses.dataclass
class Spread:
    """Median, least and most of several rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int) -> str:
        if self.low == self.high:
            return f"{self.median:,.{digits}f}"
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"


def rows(figures: list[Figure], about, dimension: str, case: str) -> list[list[str]]:
    """Heading and lines of one table; `about` is the dimension's module."""
    values: dict[str, dict[str, dict[int, float]]] = {}
    for figure in figures:
        if (figure.dimension, figure.case) == (dimension, case):
            values.setdefault(figure.product, {}).setdefault(figure.metric, {})[figure.round] = figure.value
    there = {metric for metrics in values.values() for metric in metrics}
    primary = next(column for column in COLUMNS if column[0] == about.PRIMARY)
    others = [column for column in COLUMNS if column[0] in there and column[0] != about.PRIMARY]
    reference = values.get(about.REFERENCE, {}).get(about.PRIMARY)
    heading = ["product", primary[1]] + ([f"ratio to {about.REFERENCE}"] if reference else [])
    lines = [heading + [column[1] for column in others]]
    for product, metrics in values.items():
        line = [product, Spread.of(list(metrics[about.PRIMARY].values())).text(primary[2])]
        if reference:
            line.append(_ratio(metrics[about.PRIMARY], reference))
        lines.append(line + [_cell(metrics.get(metric), digits) for metric, _, digits in others])
    return lines


def show(figures: list[Figure], about, dimension: str, case: str) -> None:
    """Prints one table."""
    lines = rows(figures, about, dimension, case)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    print(f"\n  {case}")
    for line in lines:
        name, *numbers = (cell.rjust(width) for cell, width in zip(line, widths))
        print("  " + "  ".join([name.strip().ljust(widths[0]), *numbers]), flush=True)


def _ratio(own: dict[int, float], reference: dict[int, float]) -> str:
    """Round by round: what disturbs one disturbs the other."""
    shared = [own[number] / reference[number] for number in own if reference.get(number)]
    return Spread.of(shared).text(2) if shared else "–"


def _cell(rounds: dict[int, float] | None, digits: int) -> str:
    """Medians alone: one spread a row is enough."""
    return f"{statistics.median(rounds.values()):,.{digits}f}" if rounds else "–"
