"""Planted bugs in what commands and their configuration do: asking, undoing, and waiting for a gateway."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import CLIENT, COMMAND_ACCESS, COMMAND_OUTPUT, PROGRESS, SESSION_CONFIG, Bug, Change, bug_of_one

COMMAND_BUGS: Final = (
    bug_of_one(
        "no --yes needed without a terminal", "a script, or a command over ssh, deletes what nobody was asked about",
        COMMAND_OUTPUT, "        raise UnconfirmedError(what)\n", "        return\n",
        "cli/test_delete_command.py::test_deleting_without_a_terminal_and_without_yes_is_exit_code_2_with_the_count",
    ),
    Bug(
        '"never" of trash_for deletes in silence', 'who writes "never" for "never delete" loses what is removed',
        (
            Change(
                SESSION_CONFIG, '"trash_for": duration_rule("1h", "36500d", off=(OFF,))',
                '"trash_for": duration_rule("1h", "36500d", off=OFF_WORDS)',
            ),
            Change(SESSION_CONFIG, '    if session.get("trash_for") != NEVER:\n', "    if True:\n"),
        ),
        ("test_config_rules.py",),
    ),
    bug_of_one(
        "no trash unless configured", "what is deleted by mistake is gone for good", SESSION_CONFIG,
        "    trash_for: timedelta | None = timedelta(days=TRASH_DAYS)\n", "    trash_for: timedelta | None = None\n",
        "test_config_rules.py",
    ),
    bug_of_one(
        "no limit to a gateway's silence", "a stopped gateway makes every command wait for ever", CLIENT,
        "        self.sock.settimeout(self._seconds)\n", "        self.sock.settimeout(None)\n",
        "cli/test_stopped_gateway.py::test_acting_beside_a_stopped_gateway_is_exit_code_1_and_changes_nothing",
    ),
    bug_of_one(
        "no sign of life", "a gateway that deletes many sessions is taken for a stopped one", PROGRESS,
        "        nursery.start_soon(tell)\n", "",
        "admin/api/test_progress.py::test_respond_that_takes_long_says_so_each_second_and_has_its_status_in_the_body",
    ),
    bug_of_one(
        "dry run by the file", "a person sees other removals than the gateway will make", COMMAND_ACCESS,
        "        theirs = self.ask_for_config()\n", "        theirs = None\n",
        "cli/test_rules_in_force.py::test_commands_that_judge_go_by_the_rules_of_the_gateway",
    ),
)  # fmt: skip
