"""The errors of a running gateway, and of commands that talk to it."""

from __future__ import annotations

from pathlib import Path

from miniclaw.errors.program import MiniclawError


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
