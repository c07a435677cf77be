"""A diary as a web application: Flask, whose threads share the sessions through `miniclaw.blocking`.

Run it, and use it; Ctrl-C ends it::

    curl -d 'Good morning' http://127.0.0.1:8000/diaries/anna
    curl http://127.0.0.1:8000/diaries/anna

One process owns the sessions: use a server with threads, and not one with several processes.
"""

import sys

from flask import Flask, abort, request
from flask.typing import ResponseReturnValue

import miniclaw
from miniclaw import blocking


def make_app(sessions: blocking.BlockingSessions) -> Flask:
    """Make the application over these sessions."""
    app = Flask(__name__)

    @app.post("/diaries/<person>")
    def write(person: str) -> ResponseReturnValue:
        text = request.get_data().decode(errors="replace").strip()
        if not text:
            abort(400, "the entry is empty")
        session = sessions.get_or_create("diary", person)
        message = miniclaw.Message("user", text, sessions.now())
        try:
            sessions.add_message(session.session_id, message, durable=True)
        except miniclaw.SessionFullError as error:
            abort(413, error.problem)
        return "", 201

    @app.get("/diaries/<person>")
    def read(person: str) -> ResponseReturnValue:
        session = sessions.get(f"diary_{person}")
        if session is None:
            abort(404, "there is no such diary")
        return [{"at": each.timestamp.isoformat(), "text": each.content} for each in session.messages]

    return app


if __name__ == "__main__":
    with blocking.open_runtime("sessions") as opened:  # closed at Ctrl-C, which ends `run`
        make_app(opened).run("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
