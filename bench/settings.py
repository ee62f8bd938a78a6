"""What is asked for, on the command line."""

import argparse
import dataclasses
import datetime
import pathlib

from .paths import target_folder


@dataclasses.dataclass
class Settings:
    """One run."""

    dimensions: list[str]
    rounds: int
    seconds: float
    connections: int
    quick: bool
    install: bool
    profile: str
    binaries: pathlib.Path | None
    out: pathlib.Path
    only: list[str]
    against: pathlib.Path | None

    def wants(self, product: str, reference: str) -> bool:
        """Whether a product was asked for; the reference always is."""
        return not self.only or product == reference or any(product.startswith(name) for name in self.only)

    def scaled(self, usual: int, quick: int) -> int:
        """A size that --quick makes small."""
        return quick if self.quick else usual


def read(arguments: list[str], dimensions: dict) -> Settings:
    names = "\n".join(f"  {name:<14} {dimension.TITLE}" for name, dimension in dimensions.items())
    parser = argparse.ArgumentParser(
        prog="bench/run",
        description="Measures Brama beside its peers, in the same run.",
        epilog=f"dimensions:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dimensions", nargs="*", metavar="DIMENSION", help="which to measure (default: all)")
    parser.add_argument("--rounds", type=int, help="interleaved rounds of each comparison (default 8)")
    parser.add_argument("--seconds", type=float, help="seconds a measurement (default 3)")
    parser.add_argument("--connections", type=int, default=64, help="connections under load (default 64)")
    parser.add_argument("--quick", action="store_true", help="one short round, small sizes: proves that it runs")
    parser.add_argument("--install", action="store_true", help="run bench/install first")
    parser.add_argument("--profile", default="dist", help="cargo profile to build Brama with (default dist)")
    parser.add_argument("--binaries", type=pathlib.Path, help="folder of built binaries; nothing is built then")
    parser.add_argument("--out", type=pathlib.Path, help="folder for the raw results (default: below the build folder)")
    parser.add_argument("--only", action="append", default=[], metavar="PRODUCT",
                        help="measure products whose name begins so, and the reference; may be repeated")
    parser.add_argument("--against", type=pathlib.Path, metavar="BINARY",
                        help="another build of Brama, measured beside in h1 and forward-auth")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.dimensions if name not in dimensions]
    if unknown:
        parser.error(f"no such dimension: {', '.join(unknown)}; there are {', '.join(dimensions)}")
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Settings(
        dimensions=given.dimensions or list(dimensions),
        rounds=given.rounds or (1 if given.quick else 8),
        seconds=given.seconds or (0.5 if given.quick else 3.0),
        connections=given.connections,
        quick=given.quick,
        install=given.install,
        profile=given.profile,
        binaries=given.binaries and given.binaries.resolve(),
        only=given.only,
        against=given.against and given.against.resolve(),
        out=(given.out or target_folder() / "bench" / stamp).resolve(),
    )

