"""How things stand in a workspace: what `miniclaw status` shows, gathered without owning anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from miniclaw.admin.views.channels import channel_warnings
from miniclaw.admin.views.looking import Progress, find_state, find_trash, make_plan, sessions_opened
from miniclaw.admin.views.place import Place
from miniclaw.config import SessionConfig, show_config
from miniclaw.errors import StoreError
from miniclaw.formats import NEVER
from miniclaw.session.history import HistoryEvent
from miniclaw.session.holder import Holder
from miniclaw.session.leftovers import list_leftovers
from miniclaw.session.retention import schedule
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.session.rows import Leftover
from miniclaw.session.state import CleanupState

RUNS = frozenset({"cleanup", "announced", "held", "interrupted"})
"""The events of the history that a cleanup leaves."""


Part: TypeAlias = Literal["trash", "history", "state"]
"""What of a workspace may be unreadable by itself, while the rest can be shown."""


class WorkspaceState(Struct):
    """How things stand.

    Attributes:
        now: When it was looked at.
        holder: Who owns the sessions; None: nobody.
        plan: What a cleanup would do now.
        trash: Its entries.
        quarantine: Its files.
        free_disk: Bytes that are free on the disk; None: not known.
        state: What the services remember.
        last_run: The latest event of a cleanup in the history.
        last_cleanup: The latest one that was carried out.
        damaged_lines: Of the history.
        warnings: What may be wrong with the rules, in sentences.
        unread: What could not be read, and is empty here for that reason, and why, in a sentence.
    """

    now: datetime
    holder: Holder | None
    plan: CleanupPlan
    trash: list[Leftover]
    quarantine: list[Leftover]
    free_disk: int | None
    state: CleanupState
    last_run: HistoryEvent | None
    last_cleanup: HistoryEvent | None
    damaged_lines: int
    warnings: list[str]
    unread: dict[Part, str] = field(default_factory=dict)

    @property
    def held(self) -> str | None:
        """Why the latest run was held; None where it was not."""
        return self.last_run.because if self.last_run is not None and self.last_run.event == "held" else None


def look(place: Place, now: datetime, on_progress: Progress | None = None) -> WorkspaceState:
    """Gather how things stand.

    Raises:
        StoreError: The sessions cannot be looked at. What else cannot be stands in `WorkspaceState.unread`.
    """
    unread: dict[Part, str] = {}
    trash: list[Leftover] = []
    events: list[HistoryEvent] = []
    damaged, state = 0, CleanupState()
    with sessions_opened(place) as directory:
        with _unread_if_refused(unread, "trash"):
            trash = find_trash(place, directory).leftovers()
        holder = None if directory is None else directory.holder()
        beside = [] if directory is None else list_leftovers(directory, now=now, trash=None)
        leftovers = [*beside, *trash]
        free = None if directory is None else directory.free_disk()
        plan = make_plan(place, directory, now, leftovers, on_progress)
        remembered = find_state(place, directory)
        with _unread_if_refused(unread, "history"):
            events, damaged = remembered.history().read()
        with _unread_if_refused(unread, "state"):
            state = remembered.load_cleanup()
        warnings = channel_warnings(place.config.session, directory)
    runs = [event for event in events if event.event in RUNS]
    carried_out = [event for event in runs if event.event in {"cleanup", "interrupted"}]
    return WorkspaceState(
        now,
        holder,
        plan,
        trash,
        [entry for entry in beside if entry.kind == "quarantined"],
        free,
        state,
        runs[-1] if runs else None,
        carried_out[-1] if carried_out else None,
        damaged,
        warnings,
        unread,
    )


@contextmanager
def _unread_if_refused(unread: dict[Part, str], part: Part) -> Iterator[None]:
    """Write down what could not be read, and go on."""
    try:
        yield
    except StoreError as error:
        unread[part] = str(error)


def next_run(session: SessionConfig, state: CleanupState, now: datetime) -> datetime | None:
    """Return when the next cleanup is due, as far as files tell; not later than now: at the next start. None: never."""
    if session.cleanup_at is not None:
        return now + schedule.delay_until_time_of_day(state, now, session.cleanup_at)
    if session.cleanup_interval is None:
        return None
    return now + schedule.delay_until_next_run(state, now, session.cleanup_interval)


def announced_until(state: CleanupState) -> datetime | None:
    """Return when what was announced will be removed; None: nothing is announced."""
    if state.announcement is None:
        return None
    try:
        return state.announcement.at + schedule.ANNOUNCE_PERIOD
    except OverflowError:  # a wrong clock, or a wrong hand, wrote it
        return datetime.max.replace(tzinfo=UTC)


def rules_in_force(place: Place) -> dict[str, Any]:
    """Return the rules that are on, as the configuration's file would say them."""
    shown = show_config(place.config)
    rules = {name: shown["session"].get(name, NEVER) for name in RetentionPolicy.__struct_fields__}
    del rules["ttl_by_channel"]
    rules |= {f"ttl_by_channel.{channel}": ttl for channel, ttl in shown["session.ttl_by_channel"].items()}
    # That a channel is never swept is worth knowing, and that nothing can be restored.
    return {name: value for name, value in rules.items() if value != NEVER or name.startswith("ttl")}
