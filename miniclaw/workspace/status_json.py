"""The state of a workspace as JSON; ``docs/commands.md`` describes the fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from miniclaw.config import Mode, show_config
from miniclaw.formats import encodable
from miniclaw.session.entries import FileTally, Leftover, Tally
from miniclaw.session.ownership.holder import Holder
from miniclaw.session.retention.policy import Reason
from miniclaw.session.types import AwareDatetime
from miniclaw.workspace.plan import next_run
from miniclaw.workspace.plan_json import ShownEvent, shown_event
from miniclaw.workspace.status import Part, WorkspaceState, rules_in_force
from miniclaw.workspace.workspace import Workspace


class ShownSessions(Struct, frozen=True):
    """The files of the sessions directory, counted; `bytes` is the size of the readable ones."""

    readable: int
    unreadable: int
    conflicts: int
    bytes: int


class WouldRemove(Struct, frozen=True):
    """The sessions and leftovers that a cleanup would remove now, counted; `bytes` is the size of the sessions."""

    sessions: int
    bytes: int
    leftovers: int
    by_reason: dict[Reason, Tally]


class ShownAnnouncement(Struct, frozen=True):
    """Sessions that were announced after they had expired: the time, the reason, and the time of their deletion."""

    at: AwareDatetime
    sessions: int
    bytes: int
    because: str
    goes_at: AwareDatetime | None


class ShownWorkspace(Struct, frozen=True, kw_only=True):
    """The state of a workspace, as ``miniclaw status --json`` prints it; ``docs/commands.md`` describes the fields.

    `mode`, `rules` and `config` are those of the gateway if one runs, else those of the file; `rules_of` says which.
    """

    now: AwareDatetime
    workspace: str
    held_by: Holder | None
    sessions: ShownSessions
    trash: FileTally | None
    quarantine: FileTally | None
    free_disk: int | None
    last_cleanup: ShownEvent | None
    last_run: ShownEvent | None
    last_run_at: AwareDatetime | None
    next_run_at: AwareDatetime | None
    would_remove: WouldRemove
    due: Tally
    announcement: ShownAnnouncement | None
    held: str | None
    would_be_held: str | None
    unmet: list[str]
    not_read: dict[Part, str]
    warnings: list[str]
    mode: Mode
    rules_of: Literal["gateway", "file"]
    rules: dict[str, Any]
    config: dict[str, dict[str, Any]]


def shown_workspace(
    workspace: Workspace,
    found: WorkspaceState,
    *,
    rules_of: Literal["gateway", "file"] = "gateway",
    warnings: Sequence[str] = (),
) -> ShownWorkspace:
    """Return the state of a workspace, for JSON; `warnings` are further ones, which come first."""
    plan, session = found.plan, workspace.config.session
    return ShownWorkspace(
        now=found.now,
        workspace=encodable(str(workspace.home.workspace)),
        held_by=found.holder,
        sessions=ShownSessions(
            plan.readable,
            plan.sessions_scanned - plan.readable,
            plan.problem_count("conflict"),
            plan.sessions_bytes,
        ),
        trash=None if "trash" in found.unread else _files(found.trash),
        quarantine=None if "quarantine" in found.unread else _files(found.quarantine),
        free_disk=found.free_disk,
        last_cleanup=shown_event(found.last_cleanup),
        last_run=shown_event(found.last_run),
        last_run_at=found.last_run_at,
        next_run_at=None if "state" in found.unread else next_run(session, found.moment),
        would_remove=WouldRemove(len(plan.removals), plan.bytes, len(plan.leftovers), plan.by_reason()),
        due=plan.due_count,
        announcement=_announcement(found),
        held=found.held,
        would_be_held=plan.held,
        unmet=plan.unmet,
        not_read={part: encodable(problem) for part, problem in found.unread.items()},
        warnings=[encodable(warning) for warning in (*warnings, *found.warnings)],
        mode=session.mode,
        rules_of=rules_of,
        rules=rules_in_force(workspace.config),
        config=show_config(workspace.config),
    )


def _announcement(found: WorkspaceState) -> ShownAnnouncement | None:
    event = found.announced
    if event is None:
        return None
    size = sum(tally.bytes for tally in event.reasons.values())
    return ShownAnnouncement(event.at, event.announced, size, event.because, event.goes_at)


def _files(files: Sequence[Leftover]) -> FileTally:
    return FileTally(len(files), sum(entry.size for entry in files))
