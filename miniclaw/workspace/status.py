"""The state of a workspace, as `miniclaw status` shows it; gathered without ownership."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from miniclaw.clock import from_microseconds
from miniclaw.config import Config, show_config
from miniclaw.errors import SessionFileError, StoreError
from miniclaw.formats import NEVER
from miniclaw.session.entries import Leftover
from miniclaw.session.files.quarantine_folder import QUARANTINE_NAME
from miniclaw.session.ownership.holder import Holder
from miniclaw.session.records.history import HistoryEvent
from miniclaw.session.records.moment import Moment
from miniclaw.session.removal.leftovers import list_leftovers, log_refused
from miniclaw.session.retention.plan import CleanupPlan
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.workspace.channels import channel_warnings
from miniclaw.workspace.plan import make_plan
from miniclaw.workspace.workspace import Workspace

RUNS = frozenset({"cleanup", "held", "interrupted"})
"""The kinds of history events that record a cleanup run."""


Part: TypeAlias = Literal["trash", "quarantine", "history", "state"]
"""The parts of a workspace that may be unreadable while the rest can be shown."""


class WorkspaceState(Struct):
    """The state of a workspace at one moment.

    Attributes:
        holder: The process that owns the sessions; None: there is none.
        plan: The plan of a cleanup at this moment.
        free_disk: Free bytes on the disk; None: unknown.
        last_run: The history's latest event of a cleanup; None: there is none, as in the next two.
        last_cleanup: The latest event of a cleanup that was carried out.
        last_announced: The latest event about sessions that were announced after they had expired.
        damaged_lines: The number of unreadable lines in the history.
        warnings: Possible mistakes in the rules, in sentences.
        unread: The parts that could not be read, and are empty here, each with the reason in a sentence.
    """

    moment: Moment
    holder: Holder | None
    plan: CleanupPlan
    trash: list[Leftover]
    quarantine: list[Leftover]
    free_disk: int | None
    last_run: HistoryEvent | None
    last_cleanup: HistoryEvent | None
    last_announced: HistoryEvent | None
    damaged_lines: int
    warnings: list[str]
    unread: dict[Part, str] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        """The time of `moment`."""
        return self.moment.ages.now

    @property
    def last_run_at(self) -> datetime | None:
        """The time at which the last daily run began; None: none is known."""
        last = self.moment.last_run
        return None if last is None else from_microseconds(last.at)

    @property
    def announced(self) -> HistoryEvent | None:
        """The event of `last_announced`; None if a run has been carried out since its sessions' deletion was due."""
        event, last = self.last_announced, self.last_cleanup
        if event is None or (event.goes_at is not None and last is not None and last.at >= event.goes_at):
            return None
        return event

    @property
    def held(self) -> str | None:
        """Why the latest run was held; None: it was not."""
        return self.last_run.because if self.last_run is not None and self.last_run.event == "held" else None


def look(workspace: Workspace) -> WorkspaceState:
    """Return the state of a workspace.

    Raises:
        StoreError: The sessions cannot be read. Other parts that cannot be read are in `WorkspaceState.unread`.
    """
    unread: dict[Part, str] = {}
    trash: list[Leftover] = []
    events: list[HistoryEvent] = []
    damaged = 0
    directory = workspace.directory
    with _unread_if_refused(unread, "trash"):
        trash = workspace.trash.leftovers()
    with _unread_if_refused(unread, "state"):
        workspace.load_moment()
    moment = workspace.moment

    def refused(error: SessionFileError) -> None:
        if error.path.name != QUARANTINE_NAME:
            log_refused(error)
        else:
            unread["quarantine"] = str(error)

    beside = [] if directory is None else list_leftovers(directory, now=moment.ages.now, trash=None, refused=refused)
    plan = make_plan(workspace, workspace.notice(), [*beside, *trash])
    with _unread_if_refused(unread, "history"):
        events, damaged = workspace.history()
    events.reverse()
    return WorkspaceState(
        moment,
        workspace.holder,
        plan,
        trash,
        [entry for entry in beside if entry.kind == "quarantined"],
        workspace.free_disk,
        next((event for event in events if event.event in RUNS), None),
        next((event for event in events if event.event in RUNS - {"held"}), None),
        next((event for event in events if event.event == "announced" and event.announced), None),
        damaged,
        channel_warnings(workspace.config.session, directory, workspace.config.channels),
        unread,
    )


@contextmanager
def _unread_if_refused(unread: dict[Part, str], part: Part) -> Iterator[None]:
    """Record a part that cannot be read, and suppress the `StoreError`."""
    try:
        yield
    except StoreError as error:
        unread[part] = str(error)


def rules_in_force(config: Config) -> dict[str, Any]:
    """Return the rules that are on, in the words of the configuration file."""
    shown = show_config(config)
    rules = {name: shown["session"].get(name, NEVER) for name in RetentionPolicy.__struct_fields__}
    del rules["ttl_by_channel"]
    rules |= {f"ttl_by_channel.{channel}": ttl for channel, ttl in shown["session.ttl_by_channel"].items()}
    # A TTL is shown even if it is "never", and `trash_for` even if it is "off": both are worth knowing.
    return {name: value for name, value in rules.items() if value != NEVER or name.startswith("ttl")}
