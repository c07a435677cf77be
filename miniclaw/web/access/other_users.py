"""The other people who can log in to this machine, besides the user of this program."""

from __future__ import annotations

import os
import pwd
from collections.abc import Collection, Iterable
from typing import Final

FIRST_PERSON: Final = 1000
"""Lowest uid of a person's account, inclusive; lower ones belong to the system and its services."""

_NO_SHELLS: Final = frozenset({"nologin", "false"})


def other_users() -> Collection[str]:
    """Return the names of the other people's accounts: a uid from `FIRST_PERSON` on, a shell, and not ours. Blocks.

    Accounts of a directory service that does not list them (LDAP without enumeration) are not found.
    """
    return people(pwd.getpwall(), os.getuid())


def people(accounts: Iterable[pwd.struct_passwd], own_uid: int) -> set[str]:
    """Return the names of the accounts that belong to other people; each account of our own uid is our own."""
    return {
        account.pw_name
        for account in accounts
        if account.pw_uid >= FIRST_PERSON
        and account.pw_uid != own_uid
        and os.path.basename(account.pw_shell) not in _NO_SHELLS
    }
