"""Secrets do not come out: not of a repr, not of a log, not of a text that comes in pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw import secret as redaction
from miniclaw.daemon.logging import configure_logging
from miniclaw.loggers import get_logger
from miniclaw.secret import Secret, StreamRedactor, redact


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_known", ())
    return iter(())


def test_secret_is_taken_out_of_texts_in_every_form() -> None:
    """Plain, in JSON, in the repr of an exception; and of two that begin alike no end is left."""
    for value in ("sk-short", "sk-short-and-long", 'sk-"quoted\\ü'):
        secret = Secret(value)
        assert value not in repr(secret)
        assert secret.reveal() == value
        text = f"a {value} b {json.dumps(value)} c {ValueError(value)!r}"
        assert "sk-" not in redact(text)
        assert redact(text).count("[secret]") == 3


def test_secret_that_is_hardly_one_tears_up_no_words() -> None:
    """A text of three characters is not looked for."""
    Secret("a")
    Secret("")
    assert redact("a banana") == "a banana"
    assert StreamRedactor(Secret("a")).feed("a banana") == "a banana"


def test_redact_twice_the_same_secret_is_remembered_once() -> None:
    """Asking for the key again does not make the list grow."""
    for _ in range(3):
        Secret("sk-same")
    assert redaction._known == ("sk-same",)


@given(st.lists(st.text("abcx", max_size=9), max_size=12))
def test_stream_redactor_is_the_same_as_redacting_the_whole(pieces: list[str]) -> None:
    """However a text is cut, what comes out is the whole text without the secret."""
    redactor = StreamRedactor(Secret("abcab"))
    shown = [redactor.feed(piece) for piece in pieces]
    whole = "".join(pieces)
    assert "".join(shown) + redactor.flush() == whole.replace("abcab", "[secret]")


def test_stream_redactor_shows_at_once_what_cannot_be_the_secret() -> None:
    """Nothing is held back longer than it has to be."""
    redactor = StreamRedactor(Secret("sk-secret"))
    assert [redactor.feed(piece) for piece in ("your ", "desk", "s", "k-", "x")] == ["your ", "de", "sk", "", "sk-x"]
    assert StreamRedactor(None).feed("anything") == "anything"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_log_shows_no_secret(capfd: pytest.CaptureFixture[str], log_format: str) -> None:
    """Whatever field of an event holds a secret, the line does not."""
    Secret("sk-secret")
    configure_logging("info", "json" if log_format == "json" else "console")
    get_logger("x").error("Failed", url="http://h/sk-secret", items=["sk-secret"])
    line = capfd.readouterr().err
    assert "sk-secret" not in line
    assert line.count("[secret]") == 2
