"""A diary as a web application: Starlette on Hypercorn, with trio.

Run it, and use it; Ctrl-C ends it::

    curl -d 'Good morning' http://127.0.0.1:8000/diaries/anna
    curl http://127.0.0.1:8000/diaries/anna
"""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import miniclaw


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, miniclaw.Sessions]]:
    """Open the sessions for as long as the application runs."""
    async with miniclaw.open_runtime("sessions") as sessions:
        yield {"sessions": sessions}


async def write(request: Request) -> Response:
    """Add an entry to a person's diary. When the answer comes, the entry survives a power cut."""
    sessions: miniclaw.Sessions = request.state.sessions
    text = (await request.body()).decode(errors="replace").strip()
    if not text:
        raise HTTPException(400, "the entry is empty")
    session = await sessions.get_or_create("diary", request.path_params["person"])
    message = miniclaw.Message("user", text, sessions.now())
    try:
        await sessions.add_message(session.session_id, message, durable=True)
    except miniclaw.SessionFullError as error:
        raise HTTPException(413, error.problem) from error
    return Response(status_code=201)


async def read(request: Request) -> Response:
    """Return a person's diary."""
    sessions: miniclaw.Sessions = request.state.sessions
    session = await sessions.get(f"diary_{request.path_params['person']}")
    if session is None:
        raise HTTPException(404, "there is no such diary")
    return JSONResponse([{"at": each.timestamp.isoformat(), "text": each.content} for each in session.messages])


app = Starlette(
    routes=[
        Route("/diaries/{person}", write, methods=["POST"]),
        Route("/diaries/{person}", read, methods=["GET"]),
    ],
    lifespan=lifespan,
)


async def main(port: int) -> None:
    """Serve until Ctrl-C; then requests are completed, and the sessions are saved."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def ended() -> None:
            await anext(signals)

        await serve(app, config, shutdown_trigger=ended)  # type: ignore[arg-type] # Hypercorn's own type of an application


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
