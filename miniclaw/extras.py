"""The extras: parts of miniclaw whose packages are installed only on demand."""

from __future__ import annotations


def missing_package(user: str, extra: str) -> str:
    """Return a problem for an error: a package is missing, and the command that installs it.

    The command names no distribution, because it is run in a clone: there ``.`` is miniclaw, whatever the name
    ``miniclaw`` stands for on a package index. `user`, such as ``it``, is the subject that needs a package of `extra`.
    """
    return (
        f"{user} needs a package that is not installed; "
        f"in the directory from which miniclaw was installed: pip install '.[{extra}]'"
    )
