"""Planted bugs in what keeps other users of the machine, and other pages, from the chats."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import CODES, LOGIN, OPEN_PAGE, SECURITY, WEB_CONFIG, bug_of_one

WEB_BUGS: Final = (
    bug_of_one(
        "loopback served without a token", "any user of the machine reads and deletes every chat", WEB_CONFIG,
        "self.enabled and (self.require_token or not ", "self.enabled and (not ",
        "web/test_token.py",
    ),
    bug_of_one(
        "link works twice", "a link in a terminal logs in everyone who sees it later", CODES,
        "        self._end(found.index(True))\n", "",
        "web/test_codes.py",
    ),
    bug_of_one(
        "link never expires", "a link that was never used stays a key to the chats", CODES,
        "        while self._good and self._good[0][1] <= self._now():\n            self._end(0)\n", "        return\n",
        "web/test_codes.py",
    ),
    bug_of_one(
        "open path opens everything", "a websocket is opened without a token", SECURITY,
        'scope["type"] == "http" and scope["path"] in open_paths', 'scope["path"] in open_paths',
        "web/test_token.py",
    ),
    bug_of_one(
        "stranger told the details", "strangers learn how the gateway is", LOGIN,
        "            scope[_STRANGER] = True\n", "",
        "web/test_token.py",
    ),
    bug_of_one(
        "link on a command line", "another user is quicker with it than the browser", OPEN_PAGE,
        ".as_uri() if other_users() else link\n", ".as_uri() if False else link\n",
        "cli/test_open_command.py::test_open_shows_no_other_user_the_link",
    ),
    bug_of_one(
        "workspace left open", "another user puts a socket in the place of ours", SECURITY,
        "    make_private(workspace)\n", "",
        "web/test_token.py",
    ),
)  # fmt: skip
