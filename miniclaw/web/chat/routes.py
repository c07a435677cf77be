"""The chat's routes, for the application of the gateway."""

from __future__ import annotations

from collections.abc import Mapping

import trio
from starlette.routing import BaseRoute, WebSocketRoute

from miniclaw.channels.live import LiveChannel
from miniclaw.session.manager import SessionManager
from miniclaw.web.chat.endpoint import ChatEndpoint
from miniclaw.web.chat.static_files import static_routes

CHAT_PATH = "/api/v1/chat"


def chat_routes(
    hubs: Mapping[str, LiveChannel],
    manager: SessionManager,
    *,
    drain: trio.Event,
    trusted: bool,
    model_name: str = "",
) -> list[BaseRoute]:
    """Return the routes of the page ``/``, its files below ``/static/``, and the websocket ``/api/v1/chat``.

    Args:
        hubs: The live channels by their names; "web" is for everybody.
        manager: The sessions.
        drain: Once it is set, every websocket is closed, with code 1001.
        trusted: Whether the clients come over the Unix socket; they may ask for another channel by ``channel=NAME``.
        model_name: Who answers, for the page.
    """
    endpoint = ChatEndpoint(hubs, manager, drain=drain, trusted=trusted, model_name=model_name)
    return [*static_routes(), WebSocketRoute(CHAT_PATH, endpoint.serve, name="chat")]
