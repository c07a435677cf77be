"""The table ``[log]`` of the configuration."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
"""The lowest level that is logged."""

LogFormat: TypeAlias = Literal["auto", "console", "json"]
"""The form of a line: for a person, for a program, or as suits the output."""


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[log]``."""

    level: LogLevel = "info"
    format: LogFormat = "auto"
