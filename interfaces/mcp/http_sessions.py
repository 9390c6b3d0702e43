"""The SDK's side of MCP over HTTP: apart, so that the API process imports the SDK at the first request only."""

from collections.abc import Sequence

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from interfaces.mcp.server import Authorize, make_server


def session_manager(authorize: Authorize, hosts: Sequence[str], most_bytes: int) -> StreamableHTTPSessionManager:
    """Stateless, with answers as JSON. `hosts`: what the Host and Origin headers may name, on any port."""
    return StreamableHTTPSessionManager(
        make_server(authorize),
        json_response=True,
        stateless=True,
        max_request_body_size=most_bytes,
        security_settings=TransportSecuritySettings(
            allowed_hosts=[name for host in hosts for name in (host, f"{host}:*")],
            allowed_origins=[
                name
                for host in hosts
                for scheme in ("http", "https")
                for name in (f"{scheme}://{host}", f"{scheme}://{host}:*")
            ],
        ),
    )
