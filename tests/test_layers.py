"""The order of the house: which room may import which, from the imports themselves."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = """
    version errors formats foreign histogram clock extras backoff
    loggers
    session.types
    session.names session.entries
    session.calls.arguments
    session.conflict_names session.threads
    session.hooks
    session.disk
    session.format
    session.ownership
    session.retention
    session.journal
    session.files
    session.journal.journal session.journal.replay
    session.trash
    session.removal
    session.records
    session.sessions
    session.live
    session.calls.editor session.calls.in_use
    session.journal.erasure
    session.manager
    session.timekeeper
    session.executor
    session.cleanup
    session.maintenance
    session.persistence
    session.operations
    session.calls
    stores.types
    stores.protocol stores.leases stores.conditions
    stores.memory stores.hot stores.history
    stores.paging
    stores.sweep
    stores.daily
    stores.runtime
    session.runtime
    session.as_store.event_log
    session.as_store.core
    session.as_store.listing session.as_store.removal session.as_store.maintenance
    session.as_store.parts
    stores.files
    session.calls.opening
    session
    stores
    blocking
    secret output_queue
    plugins
    config
    http_client
    workspace
    channels.base channels.foreign_calls channels.port
    agent.models agent.system_prompt agent.context_window
    testing.store_checks
    testing
    agent.openai
    agent
    channels
    channels.telegram
    web.limits web.hosts web.headers web.problems web.rates
    web.server web.access
    web
    web.chat
    admin.client.messages
    admin.monitoring
    admin.client
    admin
    daemon
    gateway
    cli.lazy cli.options cli.output cli
    cli.access cli.plan_output cli.chat
    cli.sessions
    __main__
"""
"""From the ground up: what stands in one line forms one layer, and a module imports from its own layer and from those
above its line. A name stands for a module or a whole package; the longest one that fits counts. The commands of `cli`
are the exception: see `IN_ANY_ORDER`."""

IN_ANY_ORDER = ("miniclaw.cli",)
"""Packages in which lazy imports go in any direction: a group imports its commands when one of them is called."""

SESSION_FROM_OUTSIDE = """
    as_store calls.in_use calls.opening calls.rules cleanup disk entries files format hooks journal.overlay
    live.save_job maintenance manager names operations ownership persistence records removal retention runtime sessions
    threads trash types
"""
"""What the rest of the program imports of `miniclaw.session`; all else is private to it."""


PACKAGES = {
    "": "trio anyio msgspec",
    "admin": "starlette prometheus_client",
    "agent.openai": "httpx2",
    "channels.telegram": "httpx2",
    "cli": "click rich structlog trio_websocket",
    "daemon": "starlette structlog",
    "http_client": "httpx2",
    "testing.pytest_plugin": "pytest",
    "web": "h11 hypercorn starlette wsproto",
}
"""The packages of others that each room may import, besides those of the core, which stand at the empty name."""


@cache
def _modules() -> dict[str, ast.Module]:
    files = sorted((ROOT / "miniclaw").rglob("*.py"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return {name: ast.parse(file.read_text()) for name, file in zip(names, files, strict=True)}


def _imports(name: str, *, for_types: bool = True, lazy: bool = True) -> Iterator[str]:
    """Return which modules of the package a module imports.

    Args:
        name: Of the module.
        for_types: Also those that only a type checker imports.
        lazy: Also those that a function imports when it is called.
    """
    waiting: list[ast.AST] = [_modules()[name]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types:
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not lazy:
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                found = f"{node.module}.{alias.name}"
                if found in _modules():
                    yield found
                elif node.module in _modules():
                    yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in _modules())


def _layer(name: str) -> int:
    """Return the number of the layer of a module, by the longest name that fits."""
    ranks = {f"miniclaw.{part}": rank for rank, line in enumerate(LAYERS.strip().splitlines()) for part in line.split()}
    while name not in ranks:
        name, _, last = name.rpartition(".")
        assert last, "a module has no layer"
    return ranks[name]


@pytest.mark.parametrize("name", [name for name in _modules() if name != "miniclaw"])
def test_module_imports_only_from_its_layer_and_from_below(name: str) -> None:
    """Imports go one way; so each room can be understood from the ones below it."""
    wrong = [
        found
        for found in _imports(name)
        if found != "miniclaw"
        and _layer(found) > _layer(name)
        and not (name.startswith(IN_ANY_ORDER) and found.startswith(IN_ANY_ORDER))
    ]
    assert not wrong


def test_modules_import_one_another_in_no_circle() -> None:
    """Not even by lazy imports, except between commands: what is imported can be read first."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for found in _imports(name, for_types=False, lazy=not name.startswith(IN_ANY_ORDER)):
                if found != name:
                    visit(found, (*path, name))
            done.add(name)

    for name in _modules():
        if name != "miniclaw":
            visit(name, ())


def test_session_imports_nothing_of_the_gateway() -> None:
    """The runtime can be embedded alone: it knows no configuration, no channel, no model and no command.

    Other stores belong to it; `open_runtime` imports them when it is given one.
    """
    ground = LAYERS.partition("session.types")[0].split()
    for name in _modules():
        if name.startswith("miniclaw.session"):
            outside = {found for found in _imports(name) if not found.startswith("miniclaw.session")}
            outside = {found for found in outside if not found.startswith("miniclaw.stores.")}
            assert outside <= {f"miniclaw.{part}" for part in ground}, name


def test_rest_imports_only_what_session_offers() -> None:
    """The inner rooms of the runtime can be changed without a look at the rest of the program."""
    offered = {f"miniclaw.session.{name}" for name in SESSION_FROM_OUTSIDE.split()}
    used = set()
    for name in _modules():
        if not name.startswith("miniclaw.session") and name != "miniclaw":
            for found in _imports(name):
                if found.startswith("miniclaw.session."):
                    fitting = {one for one in offered if found == one or found.startswith(f"{one}.")}
                    assert fitting, f"{name}: {found}"
                    used |= fitting
    assert used == offered


def test_modules_import_packages_of_an_extra_only_in_the_rooms_that_need_it() -> None:
    """The runtime, and all else outside of these rooms, works with the three packages of the core."""
    unused = {room: {*packages.split()} for room, packages in PACKAGES.items()}
    for name, tree in _modules().items():
        room = max((one for one in PACKAGES if not one or f"{name}.".startswith(f"miniclaw.{one}.")), key=len)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom | ast.Import):
                named = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                )
                for package in {name.partition(".")[0] for name in named} - sys.stdlib_module_names - {"miniclaw"}:
                    assert package in f"{PACKAGES['']} {PACKAGES[room]}".split(), f"{name}: {package}"
                    unused[room].discard(package)
                    unused[""].discard(package)
    assert not {room: packages for room, packages in unused.items() if packages}


@pytest.mark.parametrize("folder", sorted({name.rpartition(".")[0] for name in _modules()} - {""}))
def test_folder_can_be_taken_in_at_a_glance(folder: str) -> None:
    """At most twelve modules in a folder, fifteen at the root."""
    inside = [name for name in _modules() if name.rpartition(".")[0] == folder]
    modules = [name for name in inside if not any(other.startswith(f"{name}.") for other in _modules())]
    assert len(modules) <= (15 if folder == "miniclaw" else 12), modules


def test_layers_name_nothing_twice_and_nothing_that_is_not_there() -> None:
    """A room that was moved or deleted leaves the list as well."""
    for text in (LAYERS, SESSION_FROM_OUTSIDE):
        names = sorted(text.split())
        assert not [one for one, other in pairwise(names) if one == other]
    assert not [name for name in LAYERS.split() if f"miniclaw.{name}" not in _modules()]
    assert not [name for name in SESSION_FROM_OUTSIDE.split() if f"miniclaw.session.{name}" not in _modules()]
