"""The core alone, with trio, anyio and msgspec: the runtime works, and the rest says what it lacks."""

from __future__ import annotations

import re
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from miniclaw.extras import GATEWAY_PACKAGES, check_gateway
from tests.fakes.core_alone import CoreAlone, declared

ROOT = Path(__file__).parents[1]

INSTALL = "in the directory from which miniclaw was installed: pip install '.[gateway]'"

RUNTIME = """
import trio, miniclaw

async def main():
    async with miniclaw.open_runtime("sessions") as runtime:
        session = await runtime.manager.get_or_create_session("web", "anna")
        message = miniclaw.Message("user", "Good morning", runtime.time.now())
        await runtime.manager.add_message(session.session_id, message, durable=True)
        await runtime.manager.save_all_sessions()
        assert (await runtime.cleanup.run()).sessions_scanned == 1

trio.run(main)
with miniclaw.blocking.open_runtime("sessions") as runtime:
    print(runtime.get_session("web_anna").messages[0].content)
plan = trio.run(miniclaw.Cleanup("sessions").plan)
print(plan.sessions_scanned)
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> CoreAlone:
    return CoreAlone(tmp_path_factory.mktemp("core"))


def test_core_three_packages_are_required_without_an_extra() -> None:
    """A program that embeds the runtime gets trio, anyio and msgspec, and what these need themselves."""
    assert declared() == {"trio", "anyio", "msgspec"}


def test_core_runtime_blocking_and_cleanup_work_with_the_three_packages(alone: CoreAlone, tmp_path: Path) -> None:
    """Sessions are made, confirmed, cleaned up and read where no other package is installed."""
    assert alone.output(RUNTIME, home=tmp_path) == "Good morning\n1\n"


def test_core_has_no_other_package_in_reach(alone: CoreAlone, tmp_path: Path) -> None:
    """The environment of these tests lacks every package of the gateway; so what runs there needs none of them."""
    code = f"from importlib.util import find_spec\nprint([name for name in {GATEWAY_PACKAGES} if find_spec(name)])"
    assert alone.output(code, home=tmp_path) == "[]\n"


def test_core_every_public_name_and_module_can_be_imported(alone: CoreAlone, tmp_path: Path) -> None:
    """What `miniclaw` offers, embedders can use; only `miniclaw.gateway` asks for an extra."""
    code = """
import miniclaw
print({name: getattr(miniclaw, name).__class__.__name__ for name in [*miniclaw.__all__, *miniclaw._MODULES]}["blocking"])
"""
    assert alone.output(code, home=tmp_path) == "module\n"


@pytest.mark.parametrize("args", [(), ("gateway",), ("sessions", "list"), ("--help",)])
def test_command_without_its_extra_says_in_one_line_what_to_install(
    alone: CoreAlone, tmp_path: Path, args: tuple[str, ...]
) -> None:
    """The command comes with the library; whoever calls it without the extra gets no traceback."""
    done = alone.run("-m", "miniclaw", *args, home=tmp_path)
    assert done.stderr == f"miniclaw: the command needs a package that is not installed; {INSTALL}\n"
    assert (done.returncode, done.stdout) == (1, "")
    assert not list(tmp_path.iterdir())


def test_gateway_without_its_extra_is_an_import_error_with_the_same_sentence(alone: CoreAlone, tmp_path: Path) -> None:
    """A program that embeds the gateway learns at its import what to install."""
    code = """
try:
    from miniclaw.gateway import run_gateway
except ImportError as error:
    print(error)
"""
    shown = alone.output(code, home=tmp_path)
    assert shown == f"miniclaw.gateway needs a package that is not installed; {INSTALL}\n"


def test_command_error_of_an_import_that_no_extra_explains_is_not_hidden(alone: CoreAlone, tmp_path: Path) -> None:
    """A module that miniclaw itself lacks is a bug, and keeps its traceback."""
    code = "import sys; sys.modules['miniclaw.cli'] = None\nfrom miniclaw.__main__ import main\nmain()"
    done = alone.run("-c", code, home=tmp_path)
    assert "Traceback" in done.stderr
    assert "pip install" not in done.stderr


def test_gateway_packages_are_those_of_the_extra() -> None:
    """The check finds each package that the extra installs, and asks for no other."""
    homes = packages_distributions()
    named = {canonicalize_name(homes[package][0]) for package in GATEWAY_PACKAGES}
    assert named == declared("gateway")


def test_gateway_packages_all_there_is_no_error() -> None:
    """In this environment, which has the extra, the check finds nothing to say."""
    check_gateway("a test")


def test_docs_first_command_installs_the_gateway() -> None:
    """The first command of the README gives a gateway that runs."""
    (first, *_) = re.findall(r"pip install \S+", (ROOT / "README.md").read_text())
    assert first == "pip install '.[gateway]'"
