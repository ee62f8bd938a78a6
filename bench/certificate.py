"""A certificate for localhost, made for one run: ECDSA on P-256, as most sites have."""

import dataclasses
import pathlib
import subprocess

from .build import tool
from .errors import BenchError
from .stage import Stage


@dataclasses.dataclass
class Certificate:
    """Its files; `both` is what HAProxy reads."""

    cert: pathlib.Path
    key: pathlib.Path
    both: pathlib.Path

    def for_brama(self) -> str:
        """The rest of a [[listen]] that speaks TLS."""
        return f'tls = true\n[[listen.certificate]]\ncert_file = "{self.cert}"\nkey_file = "{self.key}"\n'

    def for_nginx(self) -> str:
        """TLS 1.3 with session tickets and a cache, in a server block."""
        return (f"ssl_certificate {self.cert}; ssl_certificate_key {self.key}; ssl_protocols TLSv1.3; "
                "ssl_ecdh_curve X25519:prime256v1; ssl_session_cache shared:tls:20m; ssl_session_timeout 1h;")

    def for_haproxy(self, alpn: str) -> str:
        """Words of a bind line."""
        return f"ssl crt {self.both} alpn {alpn} ssl-min-ver TLSv1.3 curves X25519:P-256"


def make(stage: Stage) -> Certificate:
    """A fresh one in the stage's folder."""
    made = Certificate(*(stage.folder / name for name in ("cert.pem", "key.pem", "both.pem")))
    done = subprocess.run(
        [tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", made.key, "-out", made.cert],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"openssl made no certificate:\n{done.stderr}")
    made.both.write_text(made.cert.read_text() + made.key.read_text())
    return made
