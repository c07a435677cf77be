"""The base of all errors, and those of the program: configuration, models, channels, gateway, commands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias


class MiniclawError(Exception):
    """Base of every error that miniclaw raises on purpose."""


class ConfigError(MiniclawError):
    """A configuration that cannot be used; the program does not start with it. `errors` has one for each problem."""

    errors: tuple[ConfigError, ...]

    def __init__(self, path: Path | None, problem: str, *, key: str | None = None) -> None:
        self.path = path
        self.key = key
        self.problem = problem
        where = [str(path)] if path else []
        if key:
            where.append(key)
        super().__init__(": ".join([*where, problem]))
        self.errors = (self,)


class BrokenConfigError(ConfigError):
    """A configuration with several problems; its text has a line for each, and its data is that of the first."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__(errors[0].path, errors[0].problem, key=errors[0].key)
        self.errors: tuple[ConfigError, ...] = tuple(errors)
        self.args: tuple[str] = ("\n".join(map(str, errors)),)


ModelErrorKind: TypeAlias = Literal[
    "unreachable", "timeout", "broken_off", "unauthorized", "rate_limited", "server_error", "refused",
    "invalid_answer", "prompt", "bug", "other",
]  # fmt: skip
"""The kind of a model's error, for statistics.

``unreachable``: no connection. ``timeout``: no answer, or no complete one, in time. ``broken_off``: the connection
ended before the answer. ``unauthorized``: the key was refused, or is missing. ``rate_limited``: too many requests.
``server_error``: the server failed. ``refused``: the server rejects the question. ``invalid_answer``: the answer is
malformed, empty, or too large. ``prompt``: the prompt cannot be built. ``bug``: the model's own code failed, with
`ModelBugError`. ``other``: anything else.
"""


class ModelError(MiniclawError):
    """A model that could not answer; the user's message is kept all the same.

    Its text is for the user; `detail` is logged in addition, without secrets; `kind` is the key in statistics.
    """

    detail: str | None = None  # for a class of an embedder that does not call `__init__`
    kind: ModelErrorKind = "other"

    def __init__(self, reason: str, *, detail: str | None = None, kind: ModelErrorKind = "other") -> None:
        self.reason = reason
        self.detail = detail
        self.kind = kind
        super().__init__(reason)


class ModelBugError(ModelError):
    """A model whose code failed: it raised an error other than `ModelError`, or yielded no piece of an answer."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the model failed ({what})", kind="bug")


class ChannelError(MiniclawError):
    """A channel that could not deliver, or cannot receive; its text is for the log, without secrets."""


class ChannelEndedError(ChannelError):
    """A channel that cannot continue and must not be restarted; `Channel.run` raises it."""


class ForeignMessageError(MiniclawError, ValueError):
    """A message that a channel delivers under another channel's name; it is refused."""

    def __init__(self, channel: str, name: object) -> None:
        self.channel = channel
        self.name = name
        super().__init__(
            f"the channel {channel!r} hands over a message of the channel {name!r}; "
            "InboundMessage.channel is the name of the channel that hands the message over"
        )


class ChannelNotRunningError(ChannelError):
    """A message that a channel cannot accept, because it is not running: `phase` is "starting" or "stopping"."""

    def __init__(self, channel: str, phase: str) -> None:
        self.channel = channel
        self.phase = phase
        super().__init__(f"the channel {channel!r} is {phase}; send the message again in a moment")


class OutputFileError(MiniclawError):
    """A command's output file, at `path`, that cannot be written; existing files are not changed."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"{path}: {problem}")


class GatewayError(MiniclawError):
    """A running gateway that did not carry out a command sent to its socket."""


class NoGatewayError(GatewayError):
    """No gateway answers at the socket of a workspace, at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path}: no gateway answers there")


class NoSocketError(MiniclawError):
    """A Unix socket that cannot be created at `path`, because the file system or the system permits none there."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: no socket can be made there: {reason}")


class GatewayStalledError(GatewayError):
    """A running gateway that did not send a byte in time; `pid` is its process, None if that is not known.

    If an order was `sent`, the gateway carries it out as soon as it continues.
    """

    def __init__(self, pid: int | None, *, sent: bool = False) -> None:
        self.pid = pid
        who, hint = ("", "") if pid is None else (f" (process {pid})", f" `kill -CONT {pid}` continues a stopped one.")
        late = " It may still carry out the order; `miniclaw history` shows the outcome." if sent else ""
        super().__init__(f"The gateway{who} does not answer; is it stopped?{hint}{late}")


class GatewayBusyError(GatewayError):
    """A running gateway that is still at work after a wait of `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"the gateway was still at work after {seconds:g} s")


class UnconfirmedError(MiniclawError):
    """A removal, `what`, that was not confirmed beforehand, while there is no terminal to ask at."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what}. Nothing was changed: there is no terminal to ask at; `--yes` does it, `--dry-run` says which"
        )


class DifferentRulesError(MiniclawError):
    """A running gateway whose rules differ, in `key`, from the command's configuration: it would remove by others."""

    def __init__(self, path: Path, key: str, ours: str, theirs: str) -> None:
        self.path = path
        self.key = key
        self.ours = ours
        self.theirs = theirs
        super().__init__(
            f"{path}: {key} = {ours}, but the gateway that runs goes by {key} = {theirs}; "
            "send it SIGHUP to have it read its file again, or use its configuration"
        )
