"""How much of everything a client may have: each number of the server that guards it, in one place."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

MAX_SOCKET_PIECE_BYTES: Final = 64 * 1024
"""How much is written under one deadline: so a client has to take this many bytes within `Limits.send_seconds`."""


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of a server. The program uses the defaults; tests shorten the times.

    Attributes:
        max_connections: Connections over TCP in all, if the process may have so many descriptors.
        max_connections_per_client: Likewise of one client that is not this machine.
        max_loopback_connections: Likewise of this machine.
        max_socket_connections: Connections over the Unix socket.
        idle_seconds: Until a connection without a request is closed; a request's head has to be whole by then.
        send_seconds: Until a client is cut that does not take what it is sent.
        linger_seconds: How long a client is heard out that is told why its connection is closed.
        wind_up_seconds: What a handler has left after its connection was closed.
        drain_seconds: What is left to all connections when the server stops.
        drain_send_seconds: `send_seconds` while it stops.
        ping_seconds: Between two pings of a websocket.
        max_frame_bytes: Longest message of a websocket, inclusive; counted in characters if it is text.
        max_head_bytes: Longest head of a request.
        max_path_bytes: Longest path, inclusive, as it is sent.
        max_query_bytes: Longest query, inclusive, as it is sent.
        max_body_bytes: Longest body of a request, inclusive.
        max_bodies_bytes: What the bodies of all requests may take together.
        body_seconds: Until a body has to be there.
        max_requests: How many requests are answered at the same time.
        max_requests_per_client: Likewise, of one client that is not this machine.
        requests_per_second: What one client may ask for over a long time.
        request_burst: What it may ask for at once.
        loopback_requests_per_second: As `requests_per_second`, for this machine.
        loopback_request_burst: As `request_burst`, for this machine.
        wrong_tokens_per_minute: How many wrong tokens of one client are looked at.
        max_clients: How many clients' rates are remembered; of more, the one that was quiet for longest is forgotten.
    """

    max_connections: int = 512
    max_connections_per_client: int = 64
    max_loopback_connections: int = 384
    max_socket_connections: int = 128
    idle_seconds: float = 10.0
    send_seconds: float = 10.0
    linger_seconds: float = 0.5
    wind_up_seconds: float = 5.0
    drain_seconds: float = 3.5
    drain_send_seconds: float = 1.0
    ping_seconds: float = 20.0
    max_frame_bytes: int = 256 * 1024
    max_head_bytes: int = 16 * 1024
    max_path_bytes: int = 2048
    max_query_bytes: int = 4096
    max_body_bytes: int = 1024 * 1024
    max_bodies_bytes: int = 16 * 1024 * 1024
    body_seconds: float = 10.0
    max_requests: int = 128
    max_requests_per_client: int = 32
    requests_per_second: float = 20.0
    request_burst: int = 100
    loopback_requests_per_second: float = 1000.0
    loopback_request_burst: int = 5000
    wrong_tokens_per_minute: int = 10
    max_clients: int = 4096


DEFAULT_LIMITS: Final = Limits()
