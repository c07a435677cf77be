"""Planted bugs in plugins, in the end of an embedded gateway, and in the tools for tests of embedders."""

from __future__ import annotations

from typing import Final

from tests.planted.bug import bug_of_one

_PLUGINS: Final = "plugins.py"
_GATEWAY: Final = "gateway.py"
_CLOCK: Final = "testing/clock.py"

PLUGIN_BUGS: Final = (
    bug_of_one(
        "package takes an own name", "the list of models offers a foreign openai", _PLUGINS,
        " if entry.name not in kind.own]", "]",
        "test_plugins.py::test_own_names_cannot_be_taken_by_a_package",
    ),
    bug_of_one(
        "one of two packages answers", "which package answers depends on the order of a directory", _PLUGINS,
        "    if len(fitting) > 1:\n", "    if len(fitting) > 2:\n",
        "test_plugins.py::test_parse_config_name_that_two_packages_have_is_refused_with_both",
    ),
    bug_of_one(
        "plugin changes the configuration", "a reload compares with what a package has made of the table", _PLUGINS,
        "copy.deepcopy(dict(table))", "dict(table)",
        "test_plugins.py::test_plugin_cannot_change_the_configuration",
    ),
    bug_of_one(
        "plugin closes for ever", "a package that hangs keeps the gateway from its end", _PLUGINS,
        "            nursery.cancel_scope.deadline = trio.current_time() + CLOSING_SECONDS\n", "",
        "test_plugins.py::test_plugin_that_does_not_close_is_cancelled_after_its_grace",
    ),
    bug_of_one(
        "stop after the end raises", "a program that ends twice gets an error of trio", _GATEWAY,
        "        with suppress(trio.RunFinishedError):  # then it has ended\n", "        with suppress():\n",
        "test_gateway_running.py::test_gateway_in_a_thread_is_stopped_by_another_one",
    ),
    bug_of_one(
        "signals are received all the same", "an embedded gateway takes the handlers of its program", _GATEWAY,
        "        if handle_signals:\n", "        if True:\n",
        "test_gateway_running.py::test_gateway_without_signals_touches_no_handler",
    ),
    bug_of_one(
        "autojump forgets the threads", "a deadline passes while a thread writes a session", _CLOCK,
        "        await settle()\n        seconds", "        seconds",
        "testing/test_clock.py::test_autojump_does_not_jump_while_a_thread_works",
    ),
)  # fmt: skip
