"""What the soak would see: messages that are lost, doubled or unanswered, errors in the log, and growth."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.samples import write_session
from tests.soak.account import Account, look_at_log
from tests.soak.gauges import MB, Sample, trends

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def said(role: str, content: str, inbound_id: str | None = None) -> dict[str, Any]:
    message = {"role": role, "content": content, "timestamp": NOW.isoformat()}
    return message if inbound_id is None else message | {"inbound_id": inbound_id}


ANSWER = said("assistant", "yes")


@pytest.mark.parametrize(
    ("messages", "troubles"),
    [
        ([said("user", "#1 a", "i1"), ANSWER, said("user", "#2 b", "i2")], []),
        ([said("user", "#1 a", "i1"), ANSWER], ["web_a: lost 1: '#2 b'"]),
        ([said("user", "#1 a", "i1"), ANSWER, said("user", "#2 b", "i2"), ANSWER, said("user", "#1 a", "i3")],
         ["web_a: doubled: '#1 a'"]),
        ([said("user", "#1 a", "i1"), ANSWER, said("user", "#2 b", "i1")], ["web_a: doubled: 'i1'"]),
        ([said("user", "#1 a", "i1"), said("user", "#2 b", "i2")], ["web_a: 1 messages with nothing behind them"]),
        (None, ["web_a: there is no file, and 2 messages were confirmed"]),
    ],
)  # fmt: skip
def test_account_of_a_session_names_what_is_wrong_with_it(
    sessions_dir: Path, messages: list[dict[str, Any]] | None, troubles: list[str]
) -> None:
    """What was confirmed has to be there once and in its turn, whatever else is there."""
    if messages is not None:
        write_session(sessions_dir, "web_a", NOW, messages=messages)
    account = Account(sessions_dir)
    for text in ("#1 a", "#2 b"):
        account.confirm("web_a", text)
    account.check_all()
    assert account.troubles == troubles


def test_account_of_a_session_that_somebody_deletes_on_purpose_is_closed(sessions_dir: Path) -> None:
    """Nothing is expected of it, before and after."""
    account = Account(sessions_dir)
    account.confirm("web_a", "#1 a")
    account.excuse("web_a")
    account.confirm("web_a", "#2 b")
    account.check_all()
    assert account.troubles == []


@pytest.mark.parametrize(("deleted", "lost"), [(["#1 a"], []), ([], ["#1 a"])])
def test_account_of_a_session_that_goes_to_the_trash_looks_there_too(
    sessions_dir: Path, deleted: list[str], lost: list[str]
) -> None:
    """What was confirmed is in the session or in an entry of the trash, or it is lost."""
    account = Account(sessions_dir)
    account.expect_in_trash("web_a")
    for text in ("#1 a", "#2 b"):
        account.confirm("web_a", text)
    write_session(sessions_dir, "web_a", NOW, messages=[{"role": "user", "content": "#2 b"}])
    (sessions_dir / ".trash").mkdir()
    entry = {"messages": [{"role": "user", "content": text} for text in deleted]}
    text = f"{{}}\n{json.dumps(entry)}"
    (sessions_dir / ".trash" / "web_a.20261101T000000Z-00000000.gz").write_bytes(gzip.compress(text.encode()))
    account.check_all()
    assert [trouble.endswith(repr(text)) for trouble, text in zip(account.troubles, lost, strict=True)] == [True] * len(
        lost
    )


def test_log_with_anything_but_expected_errors_is_trouble(tmp_path: Path) -> None:
    """A line that is no event, such as one of a traceback, and an ERROR that was not expected are told."""
    events = [("info", "a"), ("warning", "b"), ("error", "expected"), ("error", "other")]
    lines = [json.dumps({"level": level, "event": event}) for level, event in events]
    (tmp_path / "log").write_text("\n".join([*lines, "Traceback (most recent call last):"]))
    account = Account(tmp_path)
    found = look_at_log(tmp_path / "log", account, frozenset({"expected"}))
    assert found == {"warning: b": 1, "error: expected": 1, "error: other": 1}
    assert [trouble.partition(":")[0] for trouble in account.troubles] == ["logged", "not a line of the log"]


def sample(at: int, megabytes: float, descriptors: int = 20, threads: int = 5) -> Sample:
    return Sample(at, int(megabytes * MB), int(megabytes * MB), descriptors, threads)


def test_trends_show_what_grows_after_the_first_quarter() -> None:
    """Warming up is none; 5 % and 2 MB, five descriptors and two threads more are borne, and not more than that."""
    warming = [sample(at, at) for at in range(50)]
    flat = [*warming, *(sample(at, 60) for at in range(150))]
    assert all(trend.is_flat for trend in trends(flat))
    borne = [*flat[:150], *(sample(at, 65, 25, 7) for at in range(50))]
    assert all(trend.is_flat for trend in trends(borne))
    leaking = [*flat[:150], *(sample(at, 65.1, 26, 8) for at in range(50))]
    assert not any(trend.is_flat for trend in trends(leaking))
