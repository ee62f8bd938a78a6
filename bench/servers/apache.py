"""Apache with mod_auth_openidc, sessions in Redis.

Its processes are as many from the start as they will ever be: one that ends closes kept-alive connections.
"""

import os

from ..build import tool
from ..errors import Missing
from ..stage import Server, Stage
from .simulators import Simulators

MODULES = "/usr/lib/apache2/modules"
CONFIG = """
ServerRoot {folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.error
LogLevel warn
{user}
{modules}
StartServers 2
ServerLimit 2
ThreadsPerChild 64
MaxRequestWorkers 128
MinSpareThreads 1
MaxSpareThreads 128
MaxConnectionsPerChild 0
ListenBacklog 4096
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {client_id}
OIDCClientSecret {client_secret}
OIDCRedirectURI http://localhost:{port}/oauth2/callback
OIDCCryptoPassphrase a-passphrase-of-the-benchmark
OIDCPKCEMethod S256
OIDCScope "openid email profile"
OIDCSessionType server-cache
OIDCCacheType redis
OIDCRedisCacheServer 127.0.0.1:{redis}
OIDCSessionInactivityTimeout 28800
<Location />
  AuthType openid-connect
  Require valid-user
  ProxyPass http://{upstream}/ keepalive=On
</Location>
"""
NAMES = ("mpm_event", "authn_core", "authz_core", "authz_user", "auth_openidc", "proxy", "proxy_http")


def start(stage: Stage, upstream: str, redis: Server, simulators: Simulators, port: int) -> Server:
    """A proxy with sign-in; `port` is the one registered at the simulated provider."""
    if not os.path.exists(f"{MODULES}/mod_auth_openidc.so"):
        raise Missing("mod_auth_openidc is not installed (bench/install)")
    oidc = simulators.provider("oidc")
    modules = "\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in NAMES)
    path = stage.folder / "apache.conf"
    path.write_text(CONFIG.format(
        folder=stage.folder, port=port, modules=modules, issuer=oidc["issuer"].rstrip("/"),
        client_id=oidc["client_id"], client_secret=oidc["client_secret"], redis=redis.port, upstream=upstream,
        # Apache refuses to serve as root.
        user="User www-data\nGroup www-data" if os.geteuid() == 0 else ""))
    server = stage.start("apache", [tool("apache2"), "-D", "FOREGROUND", "-f", path], port=port)
    return stage.listening(server)
