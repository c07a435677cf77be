"""How long a test waits for something that has to come."""

from __future__ import annotations

from typing import Final

PATIENCE_SECONDS: Final = 60.0
"""Far beyond what anything takes, also on a machine that is busy with other things: only a failing test waits for it."""

DEADLINES: Final = (
    ("miniclaw.admin.monitoring.disk_cache", "PATIENCE_SECONDS"),
    ("miniclaw.agent.loop", "RECORDING_SECONDS"),
    ("miniclaw.agent.loop", "SETTLING_SECONDS"),
    ("miniclaw.agent.turn", "RECORDING_SECONDS"),
    ("miniclaw.channels.telegram.channel", "CLOSING_SECONDS"),
    ("miniclaw.channels.telegram.opening", "CLOSING_SECONDS"),
    ("miniclaw.gateway", "GRACE_SECONDS"),
    ("miniclaw.session.cleanup", "RECORD_SECONDS"),
    ("miniclaw.session.live.committer", "WAIT_SECONDS"),
    ("miniclaw.session.live.loader", "LOOK_SECONDS"),
    ("miniclaw.session.live.saver", "CONFIRM_SECONDS"),
    ("miniclaw.session.live.store", "SAYING_SECONDS"),
    ("miniclaw.session.maintenance.service", "RECORD_SECONDS"),
    ("miniclaw.session.operations.acts", "RECORD_SECONDS"),
    ("miniclaw.session.operations.operations", "RECORD_SECONDS"),
    ("miniclaw.session.operations.quarantine", "RECORD_SECONDS"),
    ("miniclaw.session.runtime", "GRACE_SECONDS"),
    ("miniclaw.session.runtime", "HANGING_SECONDS"),
    ("miniclaw.session.threads", "GRACE_SECONDS"),
    ("miniclaw.web.chat.connection", "FAREWELL_SECONDS"),
    ("miniclaw.web.server.server", "CLOSING_SECONDS"),
)
"""The program's own deadlines, of some seconds, that a busy machine would meet in a test on the real clock."""
