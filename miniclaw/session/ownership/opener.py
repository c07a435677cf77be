"""The run of trio that opened a runtime. A call from another one would wait for locks and tasks of two runs."""

from __future__ import annotations

import trio

from miniclaw.errors import ForeignRunError
from miniclaw.session.ownership.process import OpeningProcess


class OpeningRun:
    """The process and the run of trio that opened a runtime: only its tasks may use it."""

    def __init__(self) -> None:
        self._process = OpeningProcess()
        self._token = trio.lowlevel.current_trio_token()

    def check(self) -> None:
        """Refuse a call from elsewhere.

        Raises:
            ForkedRuntimeError: This is a forked child.
            ForeignRunError: This is another run of trio, or a thread that runs none.
        """
        self._process.check()
        try:
            is_own = trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:
            is_own = False
        if not is_own:
            raise ForeignRunError
