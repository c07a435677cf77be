"""The extras: parts of miniclaw whose packages are installed only on demand."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

GATEWAY_PACKAGES: Final = (
    "click", "h11", "hypercorn", "prometheus_client", "rich", "starlette", "structlog", "trio_websocket", "wsproto",
)  # fmt: skip
"""What the extra ``gateway`` installs, by the names of the imports."""


def missing_package(user: str, extra: str) -> str:
    """Return a problem for an error: a package is missing, and the command that installs it.

    The command names no distribution, because it is run in a clone: there ``.`` is miniclaw, whatever the name
    ``miniclaw`` stands for on a package index. `user`, such as ``it``, is the subject that needs a package of `extra`.
    """
    return (
        f"{user} needs a package that is not installed; "
        f"in the directory from which miniclaw was installed: pip install '.[{extra}]'"
    )


def check_gateway(user: str) -> None:
    """Check that the packages of the extra ``gateway`` are installed, without an import of them.

    Raises:
        ImportError: One is missing, its attribute `name`; the text says that `user` needs it, and how to install it.
    """
    for package in GATEWAY_PACKAGES:
        if find_spec(package) is None:
            raise ImportError(missing_package(user, "gateway"), name=package)
