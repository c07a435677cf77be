"""One client on the chat's websocket."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from starlette.websockets import WebSocket, WebSocketDisconnect

from miniclaw.channels.live import LiveChannel, UnderWay
from miniclaw.channels.subscription import Subscription
from miniclaw.errors import ChannelNotRunningError, RuntimeClosedError, StoreError
from miniclaw.loggers import get_logger
from miniclaw.session.names import make_session_id
from miniclaw.session.types import Message
from miniclaw.web.chat.frames import (
    MAX_TEXT_CHARS,
    BadFrameError,
    ErrorFrame,
    HelloFrame,
    HistoryFrame,
    MessageFrame,
    ServerFrame,
    decode_frame,
    encode_frames,
    history_page,
)
from miniclaw.web.rates import Rates

if TYPE_CHECKING:
    from miniclaw.web.chat.endpoint import ChatEndpoint

GOING_AWAY: Final = 1001
POLICY: Final = 1008
TRY_AGAIN_LATER: Final = 1013

FAREWELL_SECONDS: Final = 1
"""Time for a client to take its last frames, and then again for the close."""

BURST_FRAMES: Final = 20
"""Frames that a client may send at once; beyond that, it is read no faster than `FRAMES_PER_SECOND`."""

FRAMES_PER_SECOND: Final = 5

_UNREADABLE: Final = "What was said before in this chat cannot be read right now; the gateway's log says why."

log: Final = get_logger("miniclaw.web.chat")


class ChatConnection:
    """Serves one client until it disconnects, is left behind, or the server stops."""

    def __init__(self, endpoint: ChatEndpoint, websocket: WebSocket, hub: LiveChannel, chat_id: str) -> None:
        self._endpoint = endpoint
        self._websocket = websocket
        self._hub = hub
        self._chat_id = chat_id
        self._pace = Rates(FRAMES_PER_SECOND, BURST_FRAMES)
        self._close: tuple[int, str] | None = None  # code and reason, if this side closes
        self._serving = trio.CancelScope()
        self._told = trio.Event()  # set when the last events are sent

    async def serve(self) -> None:
        """Serve the client; afterwards the websocket is closed, or the client has disconnected.

        Cancellation: the websocket is not closed here, and the client gets no reason.
        """
        messages, trouble = await self._load()
        # No checkpoint from here to `_hello`: the history, the messages under way and the events have to fit together.
        async with self._hub.attach(self._chat_id) as subscription:
            with self._serving, suppress(WebSocketDisconnect):
                await self._send(self._hello(messages, self._hub.under_way(self._chat_id)), *trouble)
                async with trio.open_nursery() as nursery:
                    reading = trio.CancelScope()
                    nursery.start_soon(self._tell, subscription)
                    nursery.start_soon(self._watch_drain, subscription, reading)
                    with reading:
                        # Before the client's own messages: behind another message it would count as answered.
                        if unanswered := self._unanswered(messages):
                            await self._post(unanswered)
                        await self._receive()
                    if not reading.cancelled_caught:
                        self._serving.cancel()
        if self._close is not None:
            with trio.move_on_after(FAREWELL_SECONDS), suppress(WebSocketDisconnect):
                await self._websocket.close(*self._close)

    # The history ----------------------------------------------------------------------------------------------

    async def _load(self) -> tuple[list[Message], list[ErrorFrame]]:
        session_id = make_session_id(self._hub.name, self._chat_id)
        try:
            session = await self._endpoint.manager.get_session(session_id)
        except StoreError as error:
            if not isinstance(error, RuntimeClosedError):
                log.warning("History of a chat cannot be shown", session_id=session_id, error=str(error))
            return [], [ErrorFrame(_UNREADABLE)]
        return (session.messages if session else []), []

    def _hello(self, messages: list[Message], under_way: UnderWay) -> HelloFrame:
        page = history_page(messages, len(messages))
        now = under_way.answer
        if now is not None and messages and _is_answered(messages, now.to):
            now = None  # it is among the messages, as the last one; only its `reply` is still to come
        model = self._endpoint.model_name
        return HelloFrame(self._chat_id, self._hub.name, page.messages, page.more, model, now, under_way.waiting)

    def _unanswered(self, messages: list[Message]) -> MessageFrame | None:
        """Return the last message if it is a person's and not under way: the process that took it was killed."""
        last = messages[-1] if messages else None
        if last is None or last.role != "user" or last.inbound_id is None:
            return None
        if self._hub.is_in_flight(self._chat_id, last.inbound_id):
            return None
        return MessageFrame(last.inbound_id, last.content)

    # To the client --------------------------------------------------------------------------------------------

    async def _tell(self, subscription: Subscription) -> None:
        try:
            while (events := await subscription.next_events()) is not None:
                await self._send(*events)
        except WebSocketDisconnect:
            self._serving.cancel()
        else:
            self._told.set()
            if subscription.left_behind:
                self._end(TRY_AGAIN_LATER, "too much waited for this client; connect again")

    async def _send(self, *frames: ServerFrame) -> None:
        await self._websocket.send_text(encode_frames(frames))

    async def _watch_drain(self, subscription: Subscription, reading: trio.CancelScope) -> None:
        await self._endpoint.drain.wait()
        reading.cancel()
        subscription.end()
        with trio.move_on_after(FAREWELL_SECONDS):
            await self._told.wait()
        self._end(GOING_AWAY, "the gateway is stopping")

    def _end(self, code: int, reason: str) -> None:
        if self._close is None:
            self._close = (code, reason)
        self._serving.cancel()

    # From the client ------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                message = await self._websocket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._pace.wait()
                text = message.get("text")
                if text is None:
                    await self._send(ErrorFrame("a text frame is expected, not a binary one"))
                    continue
                try:
                    frame = decode_frame(text)
                except BadFrameError as error:
                    await self._send(ErrorFrame(str(error)))
                    continue
                if isinstance(frame, HistoryFrame):
                    messages, trouble = await self._load()
                    await self._send(trouble[0] if trouble else history_page(messages, frame.before))
                else:
                    await self._take(frame)

    async def _take(self, frame: MessageFrame) -> None:
        if not frame.text.strip():
            await self._send(ErrorFrame("the message is empty", frame.id))
        elif len(frame.text) > MAX_TEXT_CHARS:
            detail = f"the message has {len(frame.text):,} characters; {MAX_TEXT_CHARS:,} at the most can be sent"
            await self._send(ErrorFrame(detail, frame.id))
        else:
            await self._post(frame)

    async def _post(self, frame: MessageFrame) -> None:
        try:
            await self._hub.post(self._chat_id, frame.id, frame.text)
        except ChannelNotRunningError as error:
            self._end(TRY_AGAIN_LATER if error.phase == "starting" else GOING_AWAY, str(error))


def _is_answered(messages: list[Message], inbound_id: str | None) -> bool:
    """Return whether another message follows this one; the last ten messages are searched."""
    return messages[-1].inbound_id != inbound_id and any(
        message.inbound_id == inbound_id for message in reversed(messages[-10:-1])
    )
