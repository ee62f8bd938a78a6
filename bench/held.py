"""Memory of connections that are held open."""

import json
import subprocess
import typing

from . import table, usage
from .build import Binaries
from .compare import Run
from .errors import BenchError, Missing
from .stage import Server, Stage

ROUNDS = 3


def compare(run: Run, case: str, count: int, makers: dict[str, typing.Callable[[Stage], tuple[Server, list]]]) -> None:
    """For each product and round: a fresh start, memory before and while `count` connections are held.

    A maker starts its product and gives the words for our client. Fresh, because memory once taken is seldom
    given back.
    """
    missing = set()
    for number in range(min(run.settings.rounds, ROUNDS)):
        for name, make in makers.items():
            if name in missing:
                continue
            with Stage() as stage:
                try:
                    server, words = make(stage)
                except Missing as error:
                    missing.add(name)
                    run.note(str(error))
                    continue
                figures = _measure(stage, run.binaries, server, words, count)
            run.results.add(run.dimension, case, name, number + 1, figures)
    table.show(run.results.figures, run.about, run.dimension, case)


def _measure(stage: Stage, binaries: Binaries, server: Server, words: list, count: int) -> dict[str, float]:
    # One first, so that what is made at the first use does not count.
    _hold(stage, binaries, words, 1, lambda: None)
    before = usage.memory(server.pid)
    found = []
    _hold(stage, binaries, words, count, lambda: found.append(usage.memory(server.pid)))
    server.must_run()
    during = found[0]
    return {"kib_each": (during.pss - before.pss) / count, "rss_kib": during.rss, "pss_kib": during.pss}


def _hold(stage: Stage, binaries: Binaries, words: list, count: int, then: typing.Callable[[], None]) -> None:
    """Has our client open them, calls `then` while they are open, and lets them go."""
    at = words.index("COUNT")
    command = [binaries.client, *words[:at], count, *words[at + 1:]]
    holder = stage.start("holder", command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    line = holder.process.stdout.readline()
    if not line or json.loads(line)["open"] != count:
        raise BenchError(f"cannot hold {count} connections:\n{holder.tail()}")
    then()
    stage.stop(holder)
