"""A diary as a web application: Quart-trio.

Run it, and use it; Ctrl-C ends it::

    curl -d 'Good morning' http://127.0.0.1:8000/diaries/anna
    curl http://127.0.0.1:8000/diaries/anna
"""

import signal
import sys
from collections.abc import AsyncGenerator

import trio
from quart import ResponseReturnValue, abort, request
from quart_trio import QuartTrio

import miniclaw

app = QuartTrio(__name__)
sessions: miniclaw.Sessions  # while the application serves


@app.while_serving
async def open_sessions() -> AsyncGenerator[None, None]:
    """Open the sessions for as long as the application serves."""
    global sessions
    async with miniclaw.open_runtime("sessions") as sessions:
        yield  # noqa: ASYNC119 - Quart runs it to its end


@app.post("/diaries/<person>")
async def write(person: str) -> ResponseReturnValue:
    """Add an entry to a person's diary. When the answer comes, the entry survives a power cut."""
    text = (await request.body).decode(errors="replace").strip()
    if not text:
        abort(400, "the entry is empty")
    session = await sessions.get_or_create("diary", person)
    message = miniclaw.Message("user", text, sessions.now())
    try:
        await sessions.add_message(session.session_id, message, durable=True)
    except miniclaw.SessionFullError as error:
        abort(413, error.problem)
    return "", 201


@app.get("/diaries/<person>")
async def read(person: str) -> ResponseReturnValue:
    """Return a person's diary."""
    session = await sessions.get(f"diary_{person}")
    if session is None:
        abort(404, "there is no such diary")
    return [{"at": each.timestamp.isoformat(), "text": each.content} for each in session.messages]


async def main(port: int) -> None:
    """Serve until Ctrl-C; then requests are completed, and the sessions are saved."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def ended() -> None:
            await anext(signals)

        await app.run_task("127.0.0.1", port, shutdown_trigger=ended)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
