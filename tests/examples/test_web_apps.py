"""The web applications in examples/: the same diary on three frameworks, each behind a real address."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread

import pytest

from tests.fakes.example import example
from tests.fakes.patience import PATIENCE_SECONDS

APPS = ["starlette_app.py", "quart_app.py", "flask_app.py"]


def ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, None if body is None else body.encode())
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("name", APPS)
def test_web_app_keeps_each_diary(name: str, tmp_path: Path) -> None:
    """Entries of many people at once are all kept, in their files after Ctrl-C, and there again after a restart."""
    with example(name, "0", directory=tmp_path) as port:
        assert ask(port, "GET", "/diaries/nobody")[0] == 404
        assert ask(port, "POST", "/diaries/anna", " ")[0] == 400
        people = [Thread(target=ask, args=(port, "POST", f"/diaries/p{number}", "hi")) for number in range(8)]
        for person in people:
            person.start()
        assert ask(port, "POST", "/diaries/anna", "Good morning")[0] == 201
        assert ask(port, "POST", "/diaries/anna", "Gr\u00fc\u00df dich")[0] == 201
        for person in people:
            person.join()
    assert len(list((tmp_path / "sessions").glob("diary_p*.json"))) == 8
    with example(name, "0", directory=tmp_path) as port:
        status, body = ask(port, "GET", "/diaries/anna")
        assert (status, [entry["text"] for entry in json.loads(body)]) == (200, ["Good morning", "Gr\u00fc\u00df dich"])
