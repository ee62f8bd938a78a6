"""Cassandra for the accounts: the real server from its jars, one node, set up as in the tests (TLS, logins)."""

import subprocess

from ..build import tool
from ..errors import BenchError
from ..stage import Server, Stage, free_port, until
from . import prepared

ROLE, PASSWORD = "cassandra", "cassandra"
READY = ("Startup complete", "Created default superuser role")


def start(stage: Stage) -> Server:
    """An empty one. Takes half a minute."""
    tool("java")
    libs, sources = prepared.folder("cassandra") / "libs", prepared.sources("cassandra")
    folder = stage.folder / "cassandra"
    folder.mkdir()
    _certificates(folder)
    port = free_port()
    settings = (sources / "cassandra.yaml").read_text()
    for name, value in (("FOLDER", folder), ("NATIVE_PORT", port), ("STORAGE_PORT", free_port())):
        settings = settings.replace(f"@{name}@", str(value))
    (folder / "cassandra.yaml").write_text(settings)
    # It ends when its standard input does.
    server = stage.start("cassandra", [sources / "start", libs, folder, "keep"], port=port, stdin=subprocess.PIPE)
    until(lambda: all(line in server.log.read_text(errors="replace") for line in READY),
          "cassandra does not start", server, 240)
    return server


def toml(stage: Stage, server: Server) -> str:
    """The [directory] of accounts kept there."""
    folder = stage.folder / "cassandra"
    return (f'engine = "cassandra"\n[directory.cassandra]\nnodes = ["127.0.0.1:{server.port}"]\n'
            f'username = "{ROLE}"\npassword = "{PASSWORD}"\nca_file = "{folder}/ca.crt"\n'
            f'cert_file = "{folder}/client.crt"\nkey_file = "{folder}/client.key"\ntimeout = "20s"\n'
            'replication = "{\'class\': \'NetworkTopologyStrategy\', \'replication_factor\': 1}"\n')


def _certificates(folder) -> None:
    """An authority, a certificate for the loopback with its key in one file, and one for Brama."""
    def openssl(*words) -> None:
        done = subprocess.run([tool("openssl"), *map(str, words)], cwd=folder, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise BenchError(f"openssl {words[0]} fails:\n{done.stderr}")

    fresh = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30)
    openssl("req", "-x509", *fresh, "-subj", "/CN=bench authority", "-keyout", "ca.key", "-out", "ca.crt")
    for name, alternative in (("server", "IP:127.0.0.1"), ("client", "DNS:brama")):
        (folder / "names").write_text(f"subjectAltName={alternative}\n")
        openssl("req", *fresh[:-2], "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-days", 30, "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
                "-extfile", "names", "-out", f"{name}.crt")
        (folder / f"{name}.pem").write_text(
            (folder / f"{name}.key").read_text() + (folder / f"{name}.crt").read_text())
