"""The questions, one file each.

A dimension says TITLE (one line), ABOUT (what is measured and how it is fair), PRIMARY (the metric that decides),
REFERENCE (the product that ratios are to) and run(run).
"""

import importlib

NAMES = (
    "h1", "unix", "forward-auth", "http2", "tls-handshake", "bodies", "slow", "websocket", "idle", "latency",
    "sessions", "routes", "logins", "directories", "startup", "size", "revocation",
)
DIMENSIONS = {name: importlib.import_module(f".{name.replace('-', '_')}", __name__) for name in NAMES}
