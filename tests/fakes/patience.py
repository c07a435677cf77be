"""How long a test waits for something that has to come."""

from __future__ import annotations

from typing import Final

PATIENCE_SECONDS: Final = 60.0
"""Far beyond what anything takes, also on a machine that is busy with other things: only a failing test waits for it."""
