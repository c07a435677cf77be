"""Signs of life: an answer that takes longer than a second is begun, and says each second that it is being made."""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec
import pytest
import trio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message
from trio.testing import MockClock

from miniclaw.admin.api import progress
from miniclaw.admin.api.progress import respond
from miniclaw.admin.client.messages import (
    API_VERSION,
    PREFIX,
    PROGRESS_HEADER,
    PROGRESS_SECONDS,
    SILENCE_SECONDS,
    VERSION_HEADER,
)
from tests.admin.api.conftest import Office


def test_signs_of_life_come_well_within_the_silence_that_a_command_bears() -> None:
    """Some may be late."""
    assert PROGRESS_SECONDS * 3 <= SILENCE_SECONDS


async def _answer(work_seconds: float, *, asks: bool, status: int = 200) -> tuple[list[Message], list[float]]:
    """Return what is sent for a request whose answer takes so long, and when."""
    sent: list[Message] = []
    times: list[float] = []
    begun = trio.current_time()

    async def work(_request: Request) -> Response:
        await trio.sleep(work_seconds)
        return JSONResponse({"done": True}, status_code=status)

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)
        times.append(trio.current_time() - begun)

    async def receive() -> Message:
        await trio.sleep_forever()
        raise AssertionError

    headers = [(PROGRESS_HEADER.encode(), b"1")] if asks else []
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    await respond(work, scope, receive, send)
    return sent, times


@pytest.mark.parametrize("asks", [True, False])
async def test_respond_that_is_quick_is_an_ordinary_answer(autojump_clock: MockClock, asks: bool) -> None:
    """Its status is the real one."""
    sent, _ = await _answer(0.5, asks=asks, status=409)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 409


async def test_respond_that_takes_long_says_so_each_second_and_has_its_status_in_the_body(
    autojump_clock: MockClock,
) -> None:
    """White space until the answer is there: what is read is one JSON document."""
    sent, times = await _answer(3.5, asks=True, status=409)
    assert times == pytest.approx([1, 1, 2, 3, 3.5])
    start, *bodies = sent
    headers = dict(start["headers"])
    assert start["status"] == 200
    assert headers[PROGRESS_HEADER.encode()] == b"1"
    assert headers[VERSION_HEADER.encode()] == str(API_VERSION).encode()
    assert [body.get("more_body") for body in bodies] == [True, True, True, False]
    document = msgspec.json.decode(b"".join(body["body"] for body in bodies))
    assert document == {"status": 409, "body": {"done": True}}


async def test_respond_to_a_client_that_does_not_ask_waits_in_silence(autojump_clock: MockClock) -> None:
    """Its answer has the status that it has."""
    sent, times = await _answer(60, asks=False)
    assert len(sent) == 2
    assert times[0] == pytest.approx(60)


async def test_gateway_that_deletes_for_long_gives_signs_of_life_until_it_is_done(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the real server: the sign is there while the disk hangs, and the receipt when it goes on."""
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.01)
    office.add("web_a", days=1)
    gate = office.fs.block("unlink", path="web_a")
    order = {"session_ids": ["web_a"], "erase": False}
    request = office.api.client.stream(
        "POST", f"{PREFIX}/sessions/delete", json=order, headers={PROGRESS_HEADER: "1"}
    )  # fmt: skip
    async with request as response:
        pieces = response.aiter_raw()
        assert await anext(pieces) == b"\n"
        gate.opened.set()
        rest = b"".join([piece async for piece in pieces])
    told = httpx2.Response(200, content=rest).json()
    assert told["status"] == 200
    assert [row["error"] for row in told["body"]["sessions"]] == [None]
    assert office.left() == set()
