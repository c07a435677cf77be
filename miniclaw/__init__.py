"""miniclaw: a personal AI-agent gateway whose chat sessions look after themselves.

To embed the session runtime in a trio program::

    import trio, miniclaw

    async def main():
        async with miniclaw.open_runtime("sessions") as runtime:
            session = await runtime.manager.get_or_create_session("telegram", "123456789")

Programs that are not trio use `miniclaw.blocking.open_runtime`.

The names below, and the modules in `_MODULES`, are the public API; any other module may change at any time. A name is
imported on its first use, so that a command that only reads files does not load trio. Type checkers read the imports,
and the program reads the table: each new name is added to both.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`, whose import takes as long as all of `miniclaw --version`
if TYPE_CHECKING:
    from miniclaw import blocking as blocking
    from miniclaw import stores as stores
    from miniclaw import testing as testing
    from miniclaw.clock import Clock as Clock
    from miniclaw.clock import SystemClock as SystemClock
    from miniclaw.errors import AmbiguousQuarantineIdError as AmbiguousQuarantineIdError
    from miniclaw.errors import BrokenConfigError as BrokenConfigError
    from miniclaw.errors import ChannelEndedError as ChannelEndedError
    from miniclaw.errors import ChannelError as ChannelError
    from miniclaw.errors import ChannelNotRunningError as ChannelNotRunningError
    from miniclaw.errors import ConfigError as ConfigError
    from miniclaw.errors import CorruptSessionError as CorruptSessionError
    from miniclaw.errors import CorruptTrashError as CorruptTrashError
    from miniclaw.errors import DifferentRulesError as DifferentRulesError
    from miniclaw.errors import ForeignMessageError as ForeignMessageError
    from miniclaw.errors import ForeignRunError as ForeignRunError
    from miniclaw.errors import ForkedRuntimeError as ForkedRuntimeError
    from miniclaw.errors import GatewayBusyError as GatewayBusyError
    from miniclaw.errors import GatewayError as GatewayError
    from miniclaw.errors import GatewayStalledError as GatewayStalledError
    from miniclaw.errors import InvalidMessageError as InvalidMessageError
    from miniclaw.errors import InvalidMetadataError as InvalidMetadataError
    from miniclaw.errors import InvalidSessionIdError as InvalidSessionIdError
    from miniclaw.errors import JournalFormatError as JournalFormatError
    from miniclaw.errors import LeaseLostError as LeaseLostError
    from miniclaw.errors import MiniclawError as MiniclawError
    from miniclaw.errors import MismatchedSessionError as MismatchedSessionError
    from miniclaw.errors import ModelBugError as ModelBugError
    from miniclaw.errors import ModelError as ModelError
    from miniclaw.errors import ModelErrorKind as ModelErrorKind
    from miniclaw.errors import NoGatewayError as NoGatewayError
    from miniclaw.errors import NoSessionFileError as NoSessionFileError
    from miniclaw.errors import NoSocketError as NoSocketError
    from miniclaw.errors import NotConfirmedError as NotConfirmedError
    from miniclaw.errors import NotQuarantinedError as NotQuarantinedError
    from miniclaw.errors import NotRemovedError as NotRemovedError
    from miniclaw.errors import NoTrioError as NoTrioError
    from miniclaw.errors import OutputFileError as OutputFileError
    from miniclaw.errors import OwnershipLostError as OwnershipLostError
    from miniclaw.errors import QuarantinedFileNotFoundError as QuarantinedFileNotFoundError
    from miniclaw.errors import RemovalPendingError as RemovalPendingError
    from miniclaw.errors import RevisionConflictError as RevisionConflictError
    from miniclaw.errors import RuntimeClosedError as RuntimeClosedError
    from miniclaw.errors import SessionBusyError as SessionBusyError
    from miniclaw.errors import SessionExistsError as SessionExistsError
    from miniclaw.errors import SessionFileError as SessionFileError
    from miniclaw.errors import SessionFullError as SessionFullError
    from miniclaw.errors import SessionInUseError as SessionInUseError
    from miniclaw.errors import SessionKeptError as SessionKeptError
    from miniclaw.errors import SessionNotFoundError as SessionNotFoundError
    from miniclaw.errors import SessionsDirectoryError as SessionsDirectoryError
    from miniclaw.errors import SessionsDirectoryMissingError as SessionsDirectoryMissingError
    from miniclaw.errors import SessionTooLargeError as SessionTooLargeError
    from miniclaw.errors import StoreError as StoreError
    from miniclaw.errors import StoreIOError as StoreIOError
    from miniclaw.errors import StoreUnavailableError as StoreUnavailableError
    from miniclaw.errors import TrashEntryNotFoundError as TrashEntryNotFoundError
    from miniclaw.errors import UnconfirmedError as UnconfirmedError
    from miniclaw.errors import UnsavedSessionsError as UnsavedSessionsError
    from miniclaw.errors import WorkspaceHeldError as WorkspaceHeldError
    from miniclaw.session.calls.opening import open_runtime as open_runtime
    from miniclaw.session.calls.opening import run_runtime as run_runtime
    from miniclaw.session.calls.rules import RuntimeRules as RuntimeRules
    from miniclaw.session.cleanup import Cleanup as Cleanup
    from miniclaw.session.cleanup import CleanupResult as CleanupResult
    from miniclaw.session.entries import Deletion as Deletion
    from miniclaw.session.entries import SessionEntry as SessionEntry
    from miniclaw.session.entries import TrashedSession as TrashedSession
    from miniclaw.session.files.subdirectory import EarlierFolders as EarlierFolders
    from miniclaw.session.hooks.types import AfterRemove as AfterRemove
    from miniclaw.session.hooks.types import BeforeRemove as BeforeRemove
    from miniclaw.session.hooks.types import DueEntry as DueEntry
    from miniclaw.session.hooks.types import Keep as Keep
    from miniclaw.session.hooks.types import LoadSession as LoadSession
    from miniclaw.session.hooks.types import OnDue as OnDue
    from miniclaw.session.hooks.types import RemovalCandidate as RemovalCandidate
    from miniclaw.session.hooks.types import Remove as Remove
    from miniclaw.session.hooks.types import RemovedSession as RemovedSession
    from miniclaw.session.live.save_job import SaveReport as SaveReport
    from miniclaw.session.maintenance.announcements import Announcement as Announcement
    from miniclaw.session.manager import SessionManager as SessionManager
    from miniclaw.session.operations.quarantine import FileOutcome as FileOutcome
    from miniclaw.session.records.history import HistoryEvent as HistoryEvent
    from miniclaw.session.removal.relocation import Relocation as Relocation
    from miniclaw.session.retention.plan import CleanupPlan as CleanupPlan
    from miniclaw.session.retention.policy import RetentionPolicy as RetentionPolicy
    from miniclaw.session.runtime import SessionRuntime as SessionRuntime
    from miniclaw.session.sessions import Sessions as Sessions
    from miniclaw.session.trash.entries import Restored as Restored
    from miniclaw.session.types import Message as Message
    from miniclaw.session.types import Role as Role
    from miniclaw.session.types import Session as Session
    from miniclaw.session.types import ToolCall as ToolCall

    __all__: list[str]
    __version__: str
else:
    _MODULES = ("blocking", "stores", "testing")
    _NAMES = {
        "miniclaw.clock": (
            "Clock",
            "SystemClock",
        ),
        "miniclaw.errors": (
            "AmbiguousQuarantineIdError",
            "BrokenConfigError",
            "ChannelEndedError",
            "ChannelError",
            "ChannelNotRunningError",
            "ConfigError",
            "CorruptSessionError",
            "CorruptTrashError",
            "DifferentRulesError",
            "ForeignMessageError",
            "ForeignRunError",
            "ForkedRuntimeError",
            "GatewayBusyError",
            "GatewayError",
            "GatewayStalledError",
            "InvalidMessageError",
            "InvalidMetadataError",
            "InvalidSessionIdError",
            "JournalFormatError",
            "LeaseLostError",
            "MiniclawError",
            "MismatchedSessionError",
            "ModelBugError",
            "ModelError",
            "ModelErrorKind",
            "NoGatewayError",
            "NoSessionFileError",
            "NoSocketError",
            "NoTrioError",
            "NotConfirmedError",
            "NotQuarantinedError",
            "NotRemovedError",
            "OutputFileError",
            "OwnershipLostError",
            "QuarantinedFileNotFoundError",
            "RemovalPendingError",
            "RevisionConflictError",
            "RuntimeClosedError",
            "SessionBusyError",
            "SessionExistsError",
            "SessionFileError",
            "SessionFullError",
            "SessionInUseError",
            "SessionKeptError",
            "SessionNotFoundError",
            "SessionTooLargeError",
            "SessionsDirectoryError",
            "SessionsDirectoryMissingError",
            "StoreError",
            "StoreIOError",
            "StoreUnavailableError",
            "TrashEntryNotFoundError",
            "UnconfirmedError",
            "UnsavedSessionsError",
            "WorkspaceHeldError",
        ),
        "miniclaw.session.calls.rules": ("RuntimeRules",),
        "miniclaw.session.cleanup": (
            "Cleanup",
            "CleanupResult",
        ),
        "miniclaw.session.entries": (
            "Deletion",
            "SessionEntry",
            "TrashedSession",
        ),
        "miniclaw.session.hooks.types": (
            "AfterRemove",
            "BeforeRemove",
            "DueEntry",
            "Keep",
            "LoadSession",
            "OnDue",
            "RemovalCandidate",
            "Remove",
            "RemovedSession",
        ),
        "miniclaw.session.live.save_job": ("SaveReport",),
        "miniclaw.session.maintenance.announcements": ("Announcement",),
        "miniclaw.session.manager": ("SessionManager",),
        "miniclaw.session.calls.opening": (
            "open_runtime",
            "run_runtime",
        ),
        "miniclaw.session.records.history": ("HistoryEvent",),
        "miniclaw.session.removal.relocation": ("Relocation",),
        "miniclaw.session.retention.plan": ("CleanupPlan",),
        "miniclaw.session.retention.policy": ("RetentionPolicy",),
        "miniclaw.session.runtime": ("SessionRuntime",),
        "miniclaw.session.sessions": ("Sessions",),
        "miniclaw.session.files.subdirectory": ("EarlierFolders",),
        "miniclaw.session.operations.quarantine": ("FileOutcome",),
        "miniclaw.session.trash.entries": ("Restored",),
        "miniclaw.session.types": (
            "Message",
            "Role",
            "Session",
            "ToolCall",
        ),
    }
    _HOMES = {name: home for home, names in _NAMES.items() for name in names}

    __all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - the keys are strings

    def __getattr__(name):
        from importlib import import_module  # noqa: PLC0415 - start-up time

        if name == "__version__":
            value = import_module("miniclaw.version").VERSION
        elif name in _HOMES:
            value = getattr(import_module(_HOMES[name]), name)
        elif name in _MODULES:
            value = import_module(f"miniclaw.{name}")
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value  # the next use is that of any other name
        return value

    def __dir__():
        return sorted({*globals(), *__all__, *_MODULES})
