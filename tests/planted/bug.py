"""What a planted bug is: changes of texts that occur exactly once in a file of the package.

A bug is made as somebody would make it, so that all goes well as long as nothing goes wrong: what finds it shall be the
test of the invariant, and not the first test that runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

REMOVAL: Final = "session/removal/transaction.py"
DIRECTORY: Final = "session/files/directory.py"
ON_DISK: Final = "session/files/on_disk.py"
FILES: Final = "session/disk/atomic.py"
UNLINK: Final = "session/disk/unlink.py"
MANAGER: Final = "session/manager.py"
IN_USE: Final = "session/calls/in_use.py"
EDITOR: Final = "session/calls/editor.py"
LOADER: Final = "session/live/loader.py"
SAVER: Final = "session/live/saver.py"
SIZES: Final = "session/format/footprint.py"
UNUSUAL_FORMS: Final = "session/format/unusual_forms.py"
PUTTING_BACK: Final = "session/removal/put_back.py"
QUARANTINE: Final = "session/files/quarantine_folder.py"
PLACES: Final = "session/files/places.py"
ADOPTION: Final = "session/files/adoption.py"
COMMITTER: Final = "session/live/committer.py"
JOURNAL: Final = "session/journal/journal.py"
JOURNAL_ERASURE: Final = "session/journal/erasure.py"
QUARANTINE_FILES: Final = "session/removal/quarantine_files.py"
QUARANTINE_REMOVAL: Final = "session/removal/quarantine_removal.py"
QUARANTINE_ADMISSION: Final = "session/removal/quarantine_admission.py"
QUARANTINE_OPERATIONS: Final = "session/operations/quarantine.py"
REMOVING: Final = "session/live/remover.py"
STAGING: Final = "session/removal/staging.py"
FOLDER: Final = "session/files/subdirectory.py"
JOB: Final = "session/threads.py"
GATE: Final = "session/live/gate.py"
LOOP: Final = "agent/loop.py"
TURN: Final = "agent/turn.py"
GROWTH: Final = "session/format/growth.py"
OVERLAY: Final = "session/journal/overlay.py"
BLOCKING: Final = "blocking.py"
OWNABLE: Final = "session/files/ownable.py"
OWNERSHIP: Final = "session/ownership/ownership.py"
PATIENCE: Final = "session/ownership/patience.py"
MEMORY: Final = "session/live/memory.py"
ENTRY: Final = "session/live/entry.py"
SAVING: Final = "session/live/save_job.py"
STORE: Final = "session/live/store.py"
NAMES: Final = "session/names.py"
RETENTION: Final = "session/retention/policy.py"
NOTICE: Final = "session/retention/notice.py"
TIMELINE: Final = "session/retention/timeline.py"
LEFTOVER_RULES: Final = "session/retention/leftover_rules.py"
BUDGETS: Final = "session/retention/budgets.py"
TRASH_FOLDER: Final = "session/trash/folder.py"
STATE: Final = "session/records/state.py"
TIMEKEEPER: Final = "session/timekeeper.py"
ROWS: Final = "session/entries.py"
SCHEDULE: Final = "session/retention/schedule.py"
CODEC: Final = "session/format/codec.py"
RUNTIME: Final = "session/runtime.py"
TRASH: Final = "session/trash/trash.py"
RESTORE: Final = "session/removal/restore.py"
FREE_PLACE: Final = "session/removal/free_place.py"
RELOCATION: Final = "session/removal/relocation.py"
MOVER: Final = "session/live/mover.py"
HISTORY: Final = "session/records/history.py"
LEFTOVERS: Final = "session/removal/leftovers.py"
CLEANUP: Final = "session/cleanup.py"
CARRYING_OUT: Final = "session/executor.py"
CLEANUP_PLAN: Final = "session/retention/plan.py"
ANNOUNCEMENTS: Final = "session/maintenance/announcements.py"
HOOKS: Final = "session/hooks/hooks.py"
CLEANUP_SERVICE: Final = "session/maintenance/service.py"
ERASING: Final = "session/removal/erase.py"
OPERATIONS: Final = "session/operations/operations.py"
ACTS: Final = "session/operations/acts.py"
PLAN: Final = "session/retention/planner.py"
WEB_CONFIG: Final = "config/web.py"
CODES: Final = "web/access/codes.py"
LOGIN: Final = "web/access/login.py"
SECURITY: Final = "web/access/security.py"
OPEN_PAGE: Final = "cli/open_page.py"
MIGRATION: Final = "session/records/migration.py"
FOLDER_MOVE: Final = "session/disk/folder_move.py"
LOOKING: Final = "workspace/workspace.py"
CLIENT: Final = "admin/client/client.py"
PROGRESS: Final = "admin/api/progress.py"
COMMAND_ACCESS: Final = "cli/access.py"
COMMAND_OUTPUT: Final = "cli/output.py"
CHANNELS: Final = "workspace/channels.py"
EXPORT: Final = "cli/sessions/export.py"
HEADER_READER: Final = "session/files/header_reader.py"
RECORDS: Final = "session/journal/records.py"
REPLAY: Final = "session/journal/replay.py"
SCAN: Final = "session/files/scan.py"
SESSION_CONFIG: Final = "config/session.py"


@dataclass(frozen=True)
class Change:
    """One replacement.

    Attributes:
        file: Relative to the package.
        old: What stands there, exactly once.
        new: What is put in its place.
    """

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """One breakage.

    Attributes:
        name: For the table, and for `--only`.
        harm: What it costs somebody.
        changes: Made together.
        tests: What has to catch it, relative to `tests`: a file, or one test of it where the others would take long to
            shrink what they found.
    """

    name: str
    harm: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...] = ()


def bug_of_one(name: str, harm: str, file: str, old: str, new: str, *tests: str) -> Bug:
    """Return a bug of one change."""
    return Bug(name, harm, (Change(file, old, new),), tests)
