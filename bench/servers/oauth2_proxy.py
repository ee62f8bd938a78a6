"""oauth2-proxy, sessions in Redis."""

import base64

from ..build import tool
from ..stage import Server, Stage
from .simulators import Simulators


def start(stage: Stage, upstream: str, redis: Server, simulators: Simulators, port: int) -> Server:
    """A proxy with sign-in; `port` is the one registered at the simulated provider."""
    oidc = simulators.provider("oidc")
    flags = {
        "http-address": f"127.0.0.1:{port}",
        "upstream": f"http://{upstream}/",
        "provider": "oidc",
        "oidc-issuer-url": oidc["issuer"],
        "client-id": oidc["client_id"],
        "client-secret": oidc["client_secret"],
        "redirect-url": f"http://localhost:{port}/oauth2/callback",
        "code-challenge-method": "S256",
        "scope": "openid email profile",
        "email-domain": "*",
        "insecure-oidc-allow-unverified-email": "true",
        "cookie-secret": base64.urlsafe_b64encode(b"0123456789abcdef" * 2).decode(),
        "cookie-secure": "false",
        "session-store-type": "redis",
        "redis-connection-url": f"redis://127.0.0.1:{redis.port}/0",
        "skip-provider-button": "true",
        "set-xauthrequest": "true",
        "request-logging": "false",
        "auth-logging": "false",
    }
    command = [tool("oauth2-proxy"), *(f"--{name}={value}" for name, value in flags.items())]
    return stage.listening(stage.start("oauth2-proxy", command, port=port))
