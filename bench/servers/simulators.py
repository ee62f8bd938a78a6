"""The demo's simulated providers, as a process of their own. They know one gateway, by its port."""

import json
import re
import tomllib
import urllib.request

from ..build import Binaries
from ..stage import Server, Stage, until

PERSON = "alice"


class Simulators:
    """Running simulated providers in which everybody is signed in as the same person without a page."""

    def __init__(self, server: Server, printed: str):
        self.server = server
        self.toml = "\n".join(line for line in printed.splitlines() if not line.startswith("#"))
        self.controls = dict(re.findall(r"^# control (\S+) (\S+)", printed, re.M))
        self.tables = tomllib.loads(self.toml)["provider"]

    def provider(self, kind: str) -> dict:
        """The settings of a client of this provider."""
        return self.tables[kind]

    def toml_of(self, kind: str) -> str:
        """Its table for Brama's configuration."""
        tables = re.split(r"(?m)^(?=\[provider\.)", self.toml)
        return "".join(table for table in tables if re.match(rf"\[provider\.{kind}[\].]", table))

    def control(self, kind: str, wishes: dict) -> None:
        """Steers one of them."""
        request = urllib.request.Request(
            self.controls[kind], json.dumps(wishes).encode(), {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()


def start(stage: Stage, binaries: Binaries, gateway_port: int, name: str = "simulators") -> Simulators:
    """Providers for the gateway at this port."""
    server = stage.start(name, [binaries.brama, "demo", "--simulators", "--port", gateway_port])
    until(lambda: "# ready" in server.log.read_text(), "the simulated providers do not start", server)
    simulators = Simulators(server, server.log.read_text())
    for kind in simulators.controls:
        simulators.control(kind, {"auto_approve": PERSON})
    return simulators
