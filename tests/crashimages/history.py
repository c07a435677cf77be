"""The ledger's entries, each with the time at which it was made, told in the disk's log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.crashimages.disk_log import DiskLog
from tests.fakes.said import Event as SaidEvent
from tests.fakes.said import Said
from tests.powercut.ledger import Ledger


@dataclass(frozen=True)
class Event:
    """A call of one of the ledger's methods, when the log's file had this size."""

    log_size: int
    method: str
    arguments: tuple[str | bytes | int, ...]


class History(Ledger):
    """A ledger that remembers. What is begun is dated before anything is done, what is acknowledged afterwards.

    So a crash at an event's date or later may, or must, show it. Events of one session are in their order, which is
    all that counts; any thread may append.
    """

    def __init__(self, session_ids: list[str], log_size: Callable[[], int]) -> None:
        super().__init__(session_ids)
        self.events: list[Event] = []
        self._log_size = log_size

    def begin(self, session_id: str, version: int) -> None:
        self._note("begin", session_id, version)
        super().begin(session_id, version)

    def acknowledge(self, session_id: str, version: int) -> None:
        self._note("acknowledge", session_id, version)
        super().acknowledge(session_id, version)

    def begin_damage(self, data: bytes) -> None:
        self._note("begin_damage", data)
        super().begin_damage(data)

    def acknowledge_damage(self, data: bytes) -> None:
        self._note("acknowledge_damage", data)
        super().acknowledge_damage(data)

    def at(self, position: int, log: DiskLog) -> Ledger:
        """Return the ledger as it was when the disk's log was at this position."""
        ledger = Ledger(self.session_ids)
        for event in self.events:
            if log.position(event.log_size) <= position:
                getattr(ledger, event.method)(*event.arguments)
        return ledger

    def _note(self, method: str, *arguments: str | bytes | int) -> None:
        self.events.append(Event(self._log_size(), method, arguments))


class SaidHistory(Said):
    """What was said, in the same way."""

    def __init__(self, session_ids: Sequence[str], log_size: Callable[[], int]) -> None:
        super().__init__(session_ids, lambda event: self.events.append((log_size(), event)))
        self.events: list[tuple[int, SaidEvent]] = []

    def at(self, position: int, log: DiskLog) -> Said:
        """Return the model as it was when the disk's log was at this position."""
        said = Said(self.session_ids)
        for size, event in self.events:
            if log.position(size) <= position:
                said.take(event)
        return said
