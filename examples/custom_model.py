"""A model that is a command: it reads the conversation as JSON, and its output is the answer, shown as it comes.

Run it with a command; talk to it by ``miniclaw chat``, or on the page that ``miniclaw open`` opens; Ctrl-C ends it::

    python custom_model.py jq -r '.[-1].content | ascii_upcase'
"""

import codecs
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import trio

from miniclaw.gateway import Message, Model, ModelError, ModelEvent, find_home, load_config, run_gateway


class CommandModel:
    """Answers with the output of a command; implements `miniclaw.gateway.Model`."""

    def __init__(self, command: Sequence[str]) -> None:
        self.name = f"command/{command[0]}"
        self._command = command

    @asynccontextmanager
    async def stream(self, messages: Sequence[Message]) -> AsyncIterator[AsyncIterator[ModelEvent]]:
        """Run the command for the length of a block. A block that ends early kills it."""
        run = partial(
            trio.run_process, self._command, stdin=msgspec.json.encode(messages), stdout=subprocess.PIPE, check=False
        )
        async with trio.open_nursery() as nursery:
            try:
                process: trio.Process = await nursery.start(run)
            except OSError as error:
                raise ModelError(f"the model's command cannot be run ({error.strerror})") from error
            async with aclosing(self._pieces(process)) as pieces:
                yield pieces
            nursery.cancel_scope.cancel()

    async def _pieces(self, process: trio.Process) -> AsyncGenerator[ModelEvent, None]:
        """Give the output piece by piece; a nursery or a cancel scope has no place in this generator."""
        assert process.stdout is not None  # it is a pipe
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")  # a piece may end within a character
        async for data in process.stdout:
            if text := decoder.decode(data):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text
        if await process.wait() != 0:
            raise ModelError(f"the model's command failed (exit code {process.returncode})")


def open_model(table: dict[str, Any]) -> Model:
    """Make the model of a table ``[model]`` with ``provider = "command"``: the factory, which pyproject.toml names."""
    command = table.pop("command", None)
    if not isinstance(command, list) or not command or not all(isinstance(part, str) for part in command):
        raise ValueError('command is a list of a program and its arguments, such as ["llm", "-m", "tiny"]')
    if table:
        raise ValueError(f"there is no key {min(table)!r}; the only one is command")
    return CommandModel(command)


async def main() -> None:
    """Run the whole gateway, with the chat page, on this model."""
    home = find_home()
    config = load_config(home.config_path, required=False)
    model = CommandModel(sys.argv[1:])
    async with trio.open_nursery() as nursery:
        running = await nursery.start(partial(run_gateway, config, home, model=model, serves=True))
        print("the chat page is at", *running.addresses, flush=True)


if __name__ == "__main__":
    trio.run(main)
