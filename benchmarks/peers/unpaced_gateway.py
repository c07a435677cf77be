"""The gateway without the pace that each websocket is held to, so that a client can load it: ``miniclaw gateway``."""

from __future__ import annotations

import sys

from miniclaw.__main__ import main
from miniclaw.web.chat import connection

if __name__ == "__main__":
    connection.FRAMES_PER_SECOND = 1_000_000  # type: ignore[misc]
    connection.BURST_FRAMES = 1_000_000  # type: ignore[misc]
    sys.argv[1:] = ["gateway", "--port", "0"]
    main()
