"""The first start on a full disk: nothing is configured wrongly."""

from __future__ import annotations

import pytest

from tests.fakes.program import Program

FULL_DISK = """
import errno, os
import miniclaw.{module} as module
def refuse(*args, **named):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
module.{name} = refuse
from miniclaw.cli import main
main()
"""


@pytest.mark.parametrize(
    ("module", "name", "says"),
    [
        ("web.access.token", "create_exclusively", "web-token: could not make a token: No space left on device"),
        ("web.server.listening", "_bind_private", "gateway.sock: could not listen there: No space left on device"),
        ("secret", "Path.mkdir", "workspace: could not make this directory: No space left on device"),
    ],
)
def test_gateway_on_a_full_disk_has_failed(program: Program, module: str, name: str, says: str) -> None:
    """A script that starts it can tell a full disk, which passes, from a wrong configuration, which does not."""
    result = program.run_python(FULL_DISK.format(module=module, name=name), "gateway", "--port", "0")
    assert result.code == 1
    assert says in result.err
