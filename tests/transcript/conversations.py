"""A conversation through each channel of a real gateway, which is killed in the middle of an answer each time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from miniclaw.session.files.directory import SessionDirectory
from tests.fakes.bot_api import ME, FakeBotApi, open_bot_api
from tests.fakes.gateway_process import GatewayProcess, telegram_config
from tests.fakes.live_chat import Client, connect
from tests.fakes.told_model import open_told_model
from tests.transcript.narrator import ANSWERS, Narrator

_SECONDS: Final = 120
"""Far beyond what the story takes."""

_TIME: Final = re.compile(r'"\d{4}-\d\d-\d\dT[^"]*"')
_CONSOLE_ID: Final = re.compile(r"\b[0-9a-f]{16}-(?=\d)")

HEAD: Final = """# Conversations, each with kill -9 in its middle

On each channel the gateway is killed in the middle of an answer. This page shows the view of the person and the content
of the disk. A real `miniclaw gateway` talks to a model's server and a Bot API on this machine. `nox -s transcript` has
these conversations and writes this page; a test has them again and compares. Only times (`…`) and random ids are
replaced.
"""


class House:
    """A gateway, its surroundings, and what is told of them.

    Attributes:
        page: Paragraphs.
    """

    def __init__(self, gateway: GatewayProcess, model: Narrator, api: FakeBotApi) -> None:
        self.gateway = gateway
        self.model = model
        self.api = api
        self.page: list[str] = []

    def say(self, text: str) -> None:
        self.page.append(textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n")

    def show(self, language: str, *lines: str) -> None:
        text = _CONSOLE_ID.sub("7f3a9c1e5b2d8046-", _TIME.sub('"…"', "\n".join(lines)))
        self.page.append(f"```{language}\n{text}\n```\n")

    async def start(self) -> None:
        await trio.to_thread.run_sync(self.gateway.start)

    async def kill(self) -> None:
        await trio.to_thread.run_sync(self.gateway.kill)

    async def until_recorded(self, chat: str, channel: str, text: str) -> None:
        """Wait until a message or an answer is in the session's file."""
        while text not in {said for _, said in self._said(chat, channel)}:  # noqa: ASYNC110 - no event tells of another's file
            await trio.sleep(0.01)

    def show_file(self, chat: str, channel: str) -> None:
        """Show the messages of the session, as its file has them with the journal over it."""
        with SessionDirectory.open(self.gateway.sessions_dir) as directory:
            messages = json.loads(directory.load_source(f"{channel}_{chat}")[1])["messages"]
        self.show("json", *(json.dumps(message, ensure_ascii=False) for message in messages))

    async def check(self, chat: str, channel: str, *questions: str) -> None:
        """Show the messages in the session's file; everything has to be there, in its order, once."""
        await self.until_recorded(chat, channel, whole(questions[-1]))
        self.show_file(chat, channel)
        expected = [line for text in questions for line in (("user", text), ("assistant", "".join(ANSWERS[text])))]
        assert self._said(chat, channel) == expected

    def _said(self, chat: str, channel: str) -> list[tuple[str, str]]:
        try:
            return self.gateway.said(chat, channel)
        except FileNotFoundError:
            return []


@asynccontextmanager
async def open_house(home: Path) -> AsyncIterator[House]:
    """Start a gateway with everything for a block."""
    with open_told_model(Narrator()) as model, trio.fail_after(_SECONDS):
        assert isinstance(model, Narrator)
        async with open_bot_api() as api:
            gateway = GatewayProcess(home, model.base_url, "\n" + telegram_config(api.api_base, ME))
            house = House(gateway, model, api)
            await house.start()
            try:
                yield house
            finally:
                gateway.kill()


async def tell(house: House) -> None:
    """Have the conversations."""
    await tell_web(house)
    await tell_telegram(house)
    await tell_terminal(house)


# The page ---------------------------------------------------------------------------------------------------------


class Wire:
    """A websocket, what goes over it, and what the page makes of that."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.lines: list[str] = []
        self._told = ""  # of an answer, as far as it has come; its pieces are cut wherever the network cuts them

    async def send(self, **frame: Any) -> None:
        await self._client.send(**frame)
        self._note("→", frame)

    async def until(self, kind: str, **fields: Any) -> None:
        """Receive up to a frame."""
        while True:
            frame = await self._client.receive()
            if frame["type"] == "delta":
                self._told += frame["text"]
            else:
                self._told = ""  # what came since the last `until_told` is in the reply
                self._note("←", frame)
            if frame["type"] == kind and fields.items() <= frame.items():
                return

    async def until_told(self, text: str) -> None:
        """Receive until an answer has come so far."""
        while self._told != text:
            await self.until("delta")
        self._note("←", {"type": "delta", "text": text})
        self._told = ""

    def _note(self, direction: str, frame: dict[str, Any]) -> None:
        self.lines.append(f"{direction} {json.dumps(frame, ensure_ascii=False)}")


async def tell_web(house: House) -> None:
    """Chat on the page's websocket."""
    first, second, third = "What is on today?", "What could I cook?", "And for dessert?"
    house.say("## On the page")
    house.say(
        "These are the frames of the page's websocket, `→` from the page. A small client takes the part of the page "
        "(in `tests/browser` it is the page, in a browser). A conversation begins:"
    )
    async with connect(house.gateway.url, "?chat=home", token=house.gateway.token) as client:
        wire = Wire(client)
        await wire.until("hello")
        await wire.send(type="message", id="m1", text=first)
        await wire.until("saved", id="m1")
        house.model.let_begin(first)
        await wire.until_told(ANSWERS[first][0])
        house.model.let_end(first)
        await wire.until("reply", to="m1")
        house.show("text", *wire.lines)
        house.say("With `saved` the message gets its tick ✓: it is on disk. The next question, and half of its answer:")
        wire.lines.clear()
        await wire.send(type="message", id="m2", text=second)
        await wire.until("saved", id="m2")
        house.model.let_begin(second)
        await wire.until_told(ANSWERS[second][0])
        house.show("text", *wire.lines)
        await house.kill()
    house.say(
        "Now the gateway is killed: `kill -9`. The page shows *reconnecting…* and still the half answer. The person "
        f"continues and writes “{third}”, which the page keeps (`Sending…`). The disk has the messages with a tick:"
    )
    house.show_file("home", "web")
    house.model.let_end(second)
    house.model.let_end(third)
    await house.start()
    house.say(
        "The gateway is started again. The page connects, gets the saved messages, and sends the unconfirmed one. The "
        "connection is bad, and it sends it twice, with the same id (the frames `message` and `saved` are left out):"
    )
    async with connect(house.gateway.url, "?chat=home", token=house.gateway.token) as client:
        wire = Wire(client)
        await wire.until("hello")
        for _ in range(2):
            await client.say("m3", third)
        await wire.until("reply", to="m3")
        while not any('"saved", "id": "m3"' in line for line in wire.lines):
            await wire.until("saved")
    shown = [line for line in wire.lines if '"saved"' not in line and '"message"' not in line]
    house.show("text", shown[0], *['→ {"type": "message", "id": "m3", "text": "And for dessert?"}'] * 2, *shown[1:])
    house.say("The gateway has completed the interrupted answer by itself. The page shows each message once:")
    house.show(
        "text",
        *(line for text in (first, second, third) for line in (f"You       {text} ✓", f"miniclaw  {whole(text)}")),
    )
    house.say("The session has the same, as `miniclaw sessions export web_home` writes it:")
    await house.check("home", "web", first, second, third)


def whole(text: str) -> str:
    return "".join(ANSWERS[text])


# Telegram ---------------------------------------------------------------------------------------------------------


async def tell_telegram(house: House) -> None:
    """Write to the bot."""
    first, second = "Remind me of the trash", "Which train to Lisbon?"
    api, model = house.api, house.model
    house.say("## On Telegram")
    model.let_end(first)
    update = api.write(first)
    await api.until_confirmed(update)
    house.show("text", f"Ann       {first}", *(f"claw_bot  {text}" for text in api.texts()))
    house.say(
        f"Telegram delivered this as update {update}. The gateway confirmed it only when message and answer were on "
        f"disk: `getUpdates` with `offset={update + 1}`. The next question:"
    )
    update = api.write(second)
    model.let_begin(second)
    typed = api.count("sendChatAction")
    await api.until(lambda: second in model.asked and api.count("sendChatAction") > typed)
    await house.until_recorded(str(ME), "telegram", second)
    house.show("text", f"Ann       {second}", "claw_bot  is typing…")
    await house.kill()
    assert update not in api.confirmed
    house.say(
        f"`kill -9`, while the model is answering. Ann's message is on disk, and Telegram still has update {update}. "
        "The gateway is started again, gets the update a second time, recognises it, and answers:"
    )
    model.let_end(second)
    await house.start()
    await api.until_confirmed(update)
    assert api.texts() == [whole(first), whole(second)]
    house.show("text", f"Ann       {second}", f"claw_bot  {api.texts()[1]}")
    house.say(f"`workspace/sessions/telegram_{ME}.json` has each message once:")
    await house.check(str(ME), "telegram", first, second)


# The terminal -----------------------------------------------------------------------------------------------------


async def tell_terminal(house: House) -> None:
    """Ask on the command line."""
    text = "Is the window closed?"
    command = ["chat", "--as", "ann", "-m", text]
    house.say("## In the terminal")
    house.say("`miniclaw chat` asks the running gateway, over its socket:")
    house.model.let_begin(text)
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "miniclaw", *command],
        env={**os.environ, **house.gateway.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    half = b""
    while half.decode() != ANSWERS[text][0]:
        half += await process.stdout.receive_some()
    await house.until_recorded("ann", "console", text)
    typed = f'$ miniclaw {" ".join(command[:-1])} "{text}"'
    house.show("console", typed, half.decode())
    await house.kill()
    house.say(
        "`kill -9`. The command waits; the gateway is started again, and the answer continues where it was cut off:"
    )
    house.model.let_end(text)
    await house.start()
    rest = b"".join([chunk async for chunk in process.stdout])
    err = b"".join([chunk async for chunk in process.stderr])
    assert (await process.wait(), err) == (0, b"")
    house.show("console", typed, (half + rest).decode().rstrip())
    house.say("Its exit code is 0. In `workspace/sessions/console_ann.json`:")
    await house.check("ann", "console", text)
