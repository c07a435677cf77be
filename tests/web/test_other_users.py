"""Which accounts of a machine are other people's."""

from __future__ import annotations

import pwd

import pytest

from miniclaw.web.access.other_users import other_users, people


def account(name: str, uid: int, shell: str = "/bin/bash") -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, uid, "", f"/home/{name}", shell))


SYSTEM = [
    account("root", 0),
    account("daemon", 1, "/usr/sbin/nologin"),
    account("sync", 4, "/bin/sync"),
    account("postgres", 113),
    account("nobody", 65534, "/usr/sbin/nologin"),
    account("builds", 1500, "/bin/false"),
]
ANN, EVE, BARE = account("ann", 1000), account("eve", 1001, "/usr/bin/zsh"), account("bare", 1002, "")


@pytest.mark.parametrize(
    ("accounts", "own_uid", "expected"),
    [
        ([], 1000, set()),
        (SYSTEM, 0, set()),
        ([*SYSTEM, ANN], 1000, set()),
        ([*SYSTEM, ANN], 0, {"ann"}),
        ([*SYSTEM, ANN, EVE, BARE], 1000, {"eve", "bare"}),
        ([ANN, account("ann-too", 1000)], 1000, set()),
        ([ANN, EVE], 113, {"ann", "eve"}),
    ],
)
def test_people_are_the_accounts_that_others_can_log_in_to(
    accounts: list[pwd.struct_passwd], own_uid: int, expected: set[str]
) -> None:
    """A person has a uid from 1000 on and a shell; an empty one is the usual shell. Services and we are no others."""
    assert people(accounts, own_uid) == expected


def test_other_users_are_those_of_this_machine() -> None:
    """They come from the machine's own accounts."""
    assert set(other_users()) <= {entry.pw_name for entry in pwd.getpwall()}
