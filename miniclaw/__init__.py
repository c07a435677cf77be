"""miniclaw: a personal AI-agent gateway whose chat sessions look after themselves.

To embed the session runtime in a trio program::

    import trio, miniclaw

    async def main():
        async with miniclaw.open_runtime("sessions") as runtime:
            session = await runtime.manager.get_or_create_session("telegram", "123456789")

Programs that are not trio use `miniclaw.blocking.open_runtime`.

The names are imported on first use, so that a command that only reads files does not load trio.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`, whose import takes as long as all of `miniclaw --version`
if TYPE_CHECKING:
    from typing import Any

    from miniclaw.errors import MiniclawError as MiniclawError
    from miniclaw.session.cleanup import Cleanup as Cleanup
    from miniclaw.session.cleanup import CleanupResult as CleanupResult
    from miniclaw.session.manager import SessionManager as SessionManager
    from miniclaw.session.retention.policy import RetentionPolicy as RetentionPolicy
    from miniclaw.session.runtime import SessionRuntime as SessionRuntime
    from miniclaw.session.runtime import open_runtime as open_runtime
    from miniclaw.session.types import Message as Message
    from miniclaw.session.types import Session as Session
    from miniclaw.session.types import ToolCall as ToolCall

_HOMES = {
    "Cleanup": "miniclaw.session.cleanup",
    "CleanupResult": "miniclaw.session.cleanup",
    "Message": "miniclaw.session.types",
    "MiniclawError": "miniclaw.errors",
    "RetentionPolicy": "miniclaw.session.retention.policy",
    "Session": "miniclaw.session.types",
    "SessionManager": "miniclaw.session.manager",
    "SessionRuntime": "miniclaw.session.runtime",
    "ToolCall": "miniclaw.session.types",
    "open_runtime": "miniclaw.session.runtime",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from miniclaw.version import VERSION  # noqa: PLC0415 - start-up time

        return VERSION
    if home := _HOMES.get(name):
        from importlib import import_module  # noqa: PLC0415 - start-up time

        return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
