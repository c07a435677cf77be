"""The limits that guard the server against its clients, each number in one place."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

MAX_SOCKET_PIECE_BYTES: Final = 64 * 1024
"""Bytes written under one deadline: a client has to take this many within `Limits.send_seconds`."""


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of a server. The program uses the defaults; tests shorten the times.

    Attributes:
        max_connections: Connections over TCP in all, if the process may have so many descriptors.
        max_connections_per_client: Connections over TCP of one client that is not this machine.
        max_loopback_connections: Connections over TCP of this machine.
        max_socket_connections: Connections over the Unix socket, if the process may have so many descriptors.
        idle_seconds: Time until a connection without a request is closed; a request's head has to be whole by then.
        send_seconds: Time until a client is cut that does not take the data sent to it.
        linger_seconds: Time for which input is still read after the answer that closes a connection.
        wind_up_seconds: Time left to a handler after its connection was closed.
        drain_seconds: Time left to all connections when the server stops.
        drain_send_seconds: `send_seconds` while the server stops.
        ping_seconds: Time between two pings of a websocket.
        max_frame_bytes: Longest message of a websocket, inclusive; counted in characters if it is text.
        max_path_bytes: Longest path, inclusive, as it is sent.
        max_query_bytes: Longest query, inclusive, as it is sent.
        max_body_bytes: Longest body of a request, inclusive.
        max_bodies_bytes: Bytes that the bodies of all requests may take together, inclusive.
        body_seconds: Time within which a body has to arrive.
        max_requests: Requests that are answered at the same time.
        max_requests_per_client: Likewise, of one client that is not this machine.
        requests_per_second: Requests of one client in the long run.
        request_burst: Requests of one client at once, after a pause.
        loopback_requests_per_second: As `requests_per_second`, for this machine.
        loopback_request_burst: As `request_burst`, for this machine.
        wrong_tokens_per_minute: Wrong tokens of one client that are compared.
        max_clients: Clients whose rates are kept; of more, the one that was quiet for longest is forgotten.
    """

    max_connections: int = 512
    max_connections_per_client: int = 64
    max_loopback_connections: int = 384
    max_socket_connections: int = 128
    idle_seconds: float = 10.0
    send_seconds: float = 10.0
    linger_seconds: float = 0.5
    wind_up_seconds: float = 5.0
    drain_seconds: float = 3.0
    drain_send_seconds: float = 1.0
    ping_seconds: float = 20.0
    max_frame_bytes: int = 256 * 1024
    max_head_bytes: int = 16 * 1024
    max_path_bytes: int = 13 * 1024  # a session id of `MAX_ASKED_CHARS`, percent-encoded: 12 bytes for an emoji
    max_query_bytes: int = 13 * 1024
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
