"""Does a request cost more when there are many routes?"""

from ..compare import Run, compare
from ..servers import nginx
from ..stage import Stage
from .common import under_wrk, written_brama

TITLE = "1 route and 1,000 routes"
ABOUT = """
The same request to a Brama with the one route it falls under, and to one with 999 more beside it, each with a path of
its own.
"""
PRIMARY, REFERENCE = "cpu_us", "brama, 1 route"
ASKED = 500


def run(run: Run) -> None:
    with Stage() as stage:
        app = nginx.app(stage)

        def product(name: str, numbers) -> object:
            routes = "\n".join(
                f'[[route]]\npath = "/service/{number}"\nupstream = "app"' for number in numbers)
            server, cookie = written_brama(stage, run, f"http://{app.address}", routes=routes,
                                           name=f"brama-{len(numbers)}")
            return under_wrk(run, name, server, cookie, path=f"/service/{ASKED}/orders")

        compare(run, "cached session", [
            product("brama, 1 route", [ASKED]), product("brama, 1,000 routes", range(1000))])
