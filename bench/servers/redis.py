"""Redis, for whoever keeps sessions there. Nothing is written to disk: what is measured is the way to it."""

from ..build import tool
from ..stage import Server, Stage, free_port


def start(stage: Stage, name: str = "redis") -> Server:
    """An empty one."""
    port = free_port()
    command = [tool("redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
               "--dir", stage.folder]
    return stage.listening(stage.start(name, command, port=port))
