"""How large the binary is."""

import os

from .. import table
from ..build import tool
from ..compare import Run
from ..errors import Missing

TITLE = "size of the binary"
ABOUT = """
The file alone. Brama holds TLS, SQLite, all drivers, pages and translations; the others use libraries of the system
(nginx, HAProxy, Apache) or hold theirs (oauth2-proxy).
"""
PRIMARY, REFERENCE = "mib", ""


def run(run: Run) -> None:
    paths = {"brama": str(run.binaries.brama)}
    for name in ("nginx", "haproxy", "apache2", "oauth2-proxy"):
        try:
            paths[name] = tool(name)
        except Missing as missing:
            run.note(str(missing))
    for name, path in paths.items():
        run.results.add(run.dimension, "file", name, 1, {"mib": os.path.getsize(path) / 2**20})
    table.show(run.results.figures, run.about, run.dimension, "file")
