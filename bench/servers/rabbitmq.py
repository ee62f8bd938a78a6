"""RabbitMQ for the events: Debian's, one node, with one user and a queue that takes everything."""

import os
import pathlib
import subprocess
import json
import base64
import hashlib

from ..errors import Missing
from ..stage import Server, Stage, free_port, until

SERVER = pathlib.Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
USER, PASSWORD = "brama", "bench-of-brama"
# Erlang would otherwise start an epmd that outlives everything. With a shell before it, the tree ends as one.
SCRIPT = 'epmd & until epmd -names >/dev/null 2>&1; do sleep 0.05; done; exec "$0"'


def start(stage: Stage, name: str = "rabbitmq") -> Server:
    """One whose exchange `brama.events` has a durable queue behind it: unrouted events would not be kept."""
    if not SERVER.exists():
        raise Missing("rabbitmq-server is not installed (bench/install)")
    folder, port = stage.folder / name, free_port()
    folder.mkdir()
    (folder / "plugins").write_text("[].")
    (folder / "definitions.json").write_text(json.dumps(_definitions()))
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.local = 127.0.0.1:{port}\nload_definitions = {folder}/definitions.json\n"
        "distribution.listener.interface = 127.0.0.1\nlog.console = true\nlog.file = false\n")
    settings = {
        "HOME": folder, "ERL_EPMD_ADDRESS": "127.0.0.1", "ERL_EPMD_PORT": free_port(),
        # Means: do not fork.
        "RUNNING_UNDER_SYSTEMD": 1, "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_MNESIA_BASE": folder / "data", "RABBITMQ_LOG_BASE": folder / "logs",
        "RABBITMQ_CONFIG_FILE": folder / "rabbitmq", "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
        "RABBITMQ_PID_FILE": folder / "pid", "RABBITMQ_DIST_PORT": free_port(),
    }
    environment = {**os.environ, **{key: str(value) for key, value in settings.items()}}
    server = stage.start(name, ["sh", "-c", SCRIPT, SERVER], port=port, env=environment, stdin=subprocess.DEVNULL)
    until(lambda: "Server startup complete" in server.log.read_text(errors="replace"), f"{name} does not start",
          server, 60)
    return server


def toml(port: int) -> str:
    """The sink for events that go there, or would."""
    return (f'[event.sink.bus]\nkind = "rabbitmq"\n[event.sink.bus.rabbitmq]\nurl = "amqp://localhost:{port}"\n'
            f'username = "{USER}"\npassword = "{PASSWORD}"\nexchange = "brama.events"\n')


def _definitions() -> dict:
    salt = os.urandom(4)
    hashed = base64.b64encode(salt + hashlib.sha256(salt + PASSWORD.encode()).digest()).decode()
    place = {"vhost": "/", "durable": True, "auto_delete": False, "arguments": {}}
    return {
        "vhosts": [{"name": "/"}],
        "users": [{"name": USER, "password_hash": hashed, "tags": "",
                   "hashing_algorithm": "rabbit_password_hashing_sha256"}],
        "permissions": [{"user": USER, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
        "exchanges": [{**place, "name": "brama.events", "type": "topic", "internal": False}],
        "queues": [{**place, "name": "events"}],
        "bindings": [{"vhost": "/", "source": "brama.events", "destination": "events", "destination_type": "queue",
                      "routing_key": "#", "arguments": {}}],
    }
