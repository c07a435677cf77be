"""Checks of the arguments of public calls: each error names the argument, what it is to be, and what was given.

A wrong type is a `TypeError`, a wrong value a `ValueError`. Ids are checked by `miniclaw.session.names`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from reprlib import repr as short
from typing import Any

from miniclaw.errors import InvalidMessageError, InvalidSessionIdError
from miniclaw.session.names import is_channel
from miniclaw.session.types import Message


def check_text(name: str, value: object) -> None:
    """Raise unless the argument is a text that is not empty."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is a str, not {short(value)}")
    if not value:
        raise ValueError(f"{name} is a text that is not empty")


def checked_path(name: str, value: object) -> Path:
    """Return the argument as a path, relative if it was so: a str that is not empty, or an object such as a `Path`.

    An empty text would be the working directory, which has to be named as ".".
    """
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"{name} is a Path or a str, not {short(value)}")
    if not text:
        raise ValueError(f"{name} is empty")
    try:
        possible = b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ValueError(f"{name} is a path that no file system has: {short(text)}")
    return Path(text)


def check_type(name: str, value: object, kind: type) -> None:
    """Raise unless the argument is None or an object of a type."""
    if value is not None and not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} is {article} {kind.__name__}, or None; not {short(value)}")


def check_hook(name: str, value: object) -> None:
    """Raise unless the argument is None or can be called and awaited: a plain function would fail in every call.

    Only functions and methods are known to be plain; another object that can be called passes.
    """
    if value is None:
        return
    from inspect import iscoroutinefunction, isfunction, ismethod, unwrap  # noqa: PLC0415 - start-up time: most give none

    function: Any = value.func if isinstance(value, partial) else value
    is_async = not isinstance(value, type) and callable(function)
    if isfunction(function) or ismethod(function):
        is_async = iscoroutinefunction(unwrap(function))
    if not is_async:
        raise TypeError(f"{name} is an async function, or None; not {short(value)}")


def check_bool(name: str, value: object) -> None:
    """Raise unless the argument is a bool: a text such as "no" counts as true otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is True or False, not {short(value)}")


def check_count(name: str, value: object) -> None:
    """Raise unless the argument is a whole number from 1."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is an int, not {short(value)}")
    if value < 1:
        raise ValueError(f"{name} is at least 1, not {value}")


def check_duration(name: str, value: object) -> None:
    """Raise unless the argument is None or a duration that is not negative."""
    if value is None:
        return
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} is a timedelta, not {short(value)}")
    if value < timedelta(0):
        raise ValueError(f"{name} is not negative, but {value!r} is")


def check_channel(name: str, value: object) -> None:
    """Raise unless the argument is None or a channel."""
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name} is a str, not {short(value)}")
    if not is_channel(value):
        raise InvalidSessionIdError(value, f"{name} is 1 to 32 of a-z, 0-9 and -")


def check_message(name: str, value: object) -> None:
    """Raise unless the argument is a message with an aware time; the store checks its other fields."""
    if not isinstance(value, Message):
        raise TypeError(f"{name} is a Message, not {short(value)}")
    if not isinstance(value.timestamp, datetime):
        raise TypeError(f"timestamp of {name} is a datetime, not {short(value.timestamp)}")
    if value.timestamp.tzinfo is None:
        raise InvalidMessageError(
            f"timestamp of {name} has a time zone, as sessions.now() has; {value.timestamp} has none"
        )


def checked_messages(name: str, values: object) -> list[Message]:
    """Return the messages in a list, each checked."""
    if isinstance(values, Message) or not isinstance(values, Iterable):
        raise TypeError(f"{name} is a list of Messages, not {short(values)}")
    messages = list(values)
    for index, message in enumerate(messages):
        check_message(f"{name}[{index}]", message)
    return messages
