"""`bench/report`: a section of RESULTS.md from the raw results of one or more runs."""

import argparse
import pathlib
import sys

from . import results, table
from .dimensions import DIMENSIONS


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/report", description="Renders raw results as Markdown.")
    parser.add_argument("folders", nargs="+", type=pathlib.Path, metavar="FOLDER", help="written by bench/run")
    for folder in parser.parse_args(arguments).folders:
        try:
            about, figures = results.load(folder)
        except OSError as error:
            print(f"bench: {folder} holds no results: {error}", file=sys.stderr)
            return 1
        print(render(about, figures))
    return 0


def render(about: dict, figures: list[results.Figure]) -> str:
    """The section of one run."""
    parts = [_head(about, figures)]
    for name in dict.fromkeys(figure.dimension for figure in figures):
        parts += _dimension(name, about, figures)
    silent = [note for note in about["notes"] if note["dimension"] not in {figure.dimension for figure in figures}]
    parts += [f"*{note['dimension']}*: {note['text']}" for note in silent]
    return "\n\n".join(parts) + "\n"


def _head(about: dict, figures: list[results.Figure]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"## {about['started'][:10]}, revision {about['revision']}",
        "",
        f"* machine: {about['cpus']} × {about['cpu']}, {about['memory_gib']} GiB, Linux {about['kernel']}",
        f"* peers and tools: {versions}",
        f"* {about['rounds']} interleaved rounds of {about['seconds']:g} s, {about['connections']} connections, "
        f"cargo profile {about['profile']}",
        f"* noise: load average {about['load_at_start']:.1f} before, "
        f"{about.get('load_at_end', float('nan')):.1f} after; "
        f"{_stolen(about)}{_twin(figures)}",
        "* each figure is the median over rounds (least–most); ratios are taken round by round",
    ]
    if about["quick"]:
        lines += ["", "**Taken with --quick: it shows that everything runs, and measures nothing.**"]
    return "\n".join(lines)


def _stolen(about: dict) -> str:
    if "steal_at_end" not in about:
        return "the run did not end"
    return f"{(about['steal_at_end'] - about['steal_at_start']) / 100:.1f} s of CPU taken by other virtual machines"


def _twin(figures: list[results.Figure]) -> str:
    """The same process measured twice: what its ratio says is noise."""
    rows = {line[0]: line for line in table.rows(figures, DIMENSIONS["h1"], "h1", "keep-alive")} if any(
        figure.dimension == "h1" for figure in figures) else {}
    twin = rows.get("nginx (again)")
    return f"; the same nginx measured twice differs by the ratio {twin[2]}" if twin else ""


def _dimension(name: str, about: dict, figures: list[results.Figure]) -> list[str]:
    dimension = DIMENSIONS[name]
    parts = [f"### {name}: {dimension.TITLE}", " ".join(dimension.ABOUT.split())]
    for case in dict.fromkeys(figure.case for figure in figures if figure.dimension == name):
        parts.append(f"**{case}**\n\n" + _markdown(table.rows(figures, dimension, name, case)))
    notes = [f"* {note['text']}" for note in about["notes"] if note["dimension"] == name]
    return parts + (["\n".join(notes)] if notes else [])


def _markdown(lines: list[list[str]]) -> str:
    heading, *rows = lines
    rule = ["---"] + ["---:"] * (len(heading) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in [heading, rule, *rows])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
