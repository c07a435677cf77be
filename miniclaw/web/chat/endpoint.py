"""The routes of the chat, and its websocket: the chat that a client asks for, and the client's right to it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import trio
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from miniclaw.channels.live import LiveChannel
from miniclaw.errors import InvalidSessionIdError
from miniclaw.session.manager import SessionManager
from miniclaw.session.names import check_asked, make_session_id
from miniclaw.web.access.login import CHAT_PROTOCOL
from miniclaw.web.chat.connection import GOING_AWAY, POLICY, ChatConnection
from miniclaw.web.chat.frames import ErrorFrame, encode_frames
from miniclaw.web.chat.static_files import static_routes

DEFAULT_CHANNEL: Final = "web"
DEFAULT_CHAT: Final = "main"

MAX_CHAT_ID_CHARS: Final = 200
"""Longest id of a chat that can be asked for, inclusive. A client on the Unix socket may use any session id that
`check_asked` admits, also with characters that cannot be printed."""


CHAT_PATH = "/api/v1/chat"


class ChatEndpoint:
    """Accepts clients and serves them.

    Args:
        hubs: The live channels by their names; every client may use "web".
        drain: Once it is set, every websocket is closed, with code 1001.
        trusted: If true, the clients come over the Unix socket; they may ask for another channel by ``channel=NAME``.
    """

    def __init__(
        self,
        hubs: Mapping[str, LiveChannel],
        manager: SessionManager,
        *,
        drain: trio.Event,
        trusted: bool,
        model_name: str,
    ) -> None:
        self.manager = manager
        self.drain = drain
        self.model_name = model_name
        self._hubs = hubs
        self._trusted = trusted

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the page ``/``, its files below ``/static/``, and the websocket ``/api/v1/chat``."""
        return [*static_routes(), WebSocketRoute(CHAT_PATH, self.serve, name="chat")]

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one client to its end.

        A request for an unknown channel or chat is accepted, and then closed after an error frame: a browser's script
        cannot see the answer to a handshake.
        """
        # A browser that offers subprotocols breaks the connection off if none of them is accepted.
        offered = websocket.scope.get("subprotocols", ())
        await websocket.accept(CHAT_PROTOCOL if CHAT_PROTOCOL in offered else None)
        if self.drain.is_set():
            await websocket.close(GOING_AWAY, "the gateway is stopping")
            return
        try:
            hub = self._hub(websocket.query_params.get("channel", DEFAULT_CHANNEL))
            chat_id = self._chat_id(hub.name, websocket.query_params.get("chat", DEFAULT_CHAT))
        except InvalidSessionIdError as error:
            with suppress(WebSocketDisconnect):
                await websocket.send_text(encode_frames([ErrorFrame(str(error))]))
                await websocket.close(POLICY, "there is no such chat")
            return
        await ChatConnection(self, websocket, hub, chat_id).serve()

    def _hub(self, name: str) -> LiveChannel:
        allowed = sorted(self._hubs) if self._trusted else [DEFAULT_CHANNEL]
        if name not in allowed:
            raise InvalidSessionIdError(name, f"the channel is one of: {', '.join(allowed)}")
        return self._hubs[name]

    def _chat_id(self, channel: str, chat_id: str) -> str:
        check_asked(make_session_id(channel, chat_id))
        if self._trusted:
            return chat_id
        if len(chat_id) > MAX_CHAT_ID_CHARS:
            raise InvalidSessionIdError(chat_id, f"the id of a chat has {MAX_CHAT_ID_CHARS} characters at the most")
        if not (chat_id.isprintable() and chat_id.strip()):
            raise InvalidSessionIdError(chat_id, "the id of a chat is made of characters that can be printed")
        return chat_id
