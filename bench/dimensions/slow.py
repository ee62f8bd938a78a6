"""What a client costs that takes its download slowly."""

from .. import held
from ..compare import Run
from ..servers import haproxy, nginx
from ..stage import Stage
from .common import ask, written_brama

TITLE = "memory of a slow download"
ABOUT = """
`bench-client slow`: 500 clients ask for 1 GiB each, take 1 KiB now and then through the smallest receive buffer there
is, and are held so. The figure is what the proportional set size of the product's processes grew by, for each of them.
Each round starts the product afresh.
"""
PRIMARY, REFERENCE = "kib_each", "nginx"


def run(run: Run) -> None:
    count = run.settings.scaled(500, 50)

    def slowly(start):
        def make(stage: Stage):
            server, cookie = start(stage, nginx.app(stage))
            return server, ["slow", *ask(server, "/big", cookie), "--count", "COUNT"]
        return make

    held.compare(run, f"{count} at once", count, {
        "nginx": slowly(lambda stage, app: (nginx.proxy(stage, app.address), "")),
        "brama": slowly(lambda stage, app: written_brama(stage, run, f"http://{app.address}")),
        "haproxy": slowly(lambda stage, app: (haproxy.proxy(stage, app.address), "")),
    })
