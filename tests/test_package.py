"""The package's face: its names, and what importing it costs."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from pkgutil import walk_packages

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import miniclaw
import miniclaw.errors
from tests.fakes.patience import PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]

_IS_LOADED = "import sys; print('trio' in sys.modules)"


def _python(code: str, home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS,
        env={"MINICLAW_HOME": str(home), "HOME": str(home), "PATH": ""},
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


def _run_and_say(*args: str) -> str:
    return f"""
import sys
sys.argv = ["miniclaw", *{args!r}]
from miniclaw.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("trio" in sys.modules)
"""


def _names_for_type_checkers() -> dict[str, str]:
    """Return the home of each name that `miniclaw` imports for type checkers; the own name of a module."""
    tree = ast.parse(Path(miniclaw.__file__).read_text())
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    found = {}
    for node in guarded.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, f"{alias.name} is not exported"
                assert node.module is not None
                found[alias.name] = f"miniclaw.{alias.name}" if node.module == "miniclaw" else node.module
    return found


def test_package_type_checkers_and_programs_find_the_same_names() -> None:
    """The imports for type checkers, the table of the lazy imports and `__all__` agree on each name and its home."""
    for_types = _names_for_type_checkers()
    modules = {name for name, home in for_types.items() if home == f"miniclaw.{name}"}
    assert {*miniclaw.__all__} == (for_types.keys() - modules) | {"__version__"}
    assert len(miniclaw.__all__) == len({*miniclaw.__all__})
    for name, home in for_types.items():
        module = import_module(home)
        assert getattr(miniclaw, name) is (module if name in modules else getattr(module, name)), name
    assert miniclaw.__version__ == version("trio-miniclaw")


def test_package_dir_lists_what_can_be_had() -> None:
    """A completion in an interpreter shows names that were not used yet, and modules."""
    shown = _python("import miniclaw; print(sorted(dir(miniclaw)))", Path("/"))
    assert {*miniclaw.__all__, *_names_for_type_checkers()} <= {*ast.literal_eval(shown)}


def test_package_modules_can_be_had_without_an_import_of_their_own() -> None:
    """`miniclaw.blocking.open_runtime` works after `import miniclaw`, as type checkers think."""
    assert _python("import miniclaw; print(miniclaw.blocking.open_runtime.__name__)", Path("/")) == "open_runtime"


def test_docs_names_of_classes_can_be_imported_as_the_page_says() -> None:
    """The page about embedding sends no program to a module that is not public."""
    page = (ROOT / "docs" / "embedding.md").read_text()
    named = {*re.findall(r"`(?:miniclaw\.)?([A-Z][a-z]+(?:[A-Z][A-Za-z]*)+)\b", page)}
    public = [miniclaw, builtins, *(import_module(f"miniclaw.{name}") for name in ("gateway", "stores", "testing"))]
    others = {"MockClock", "StreamHandler"}  # of trio and of logging
    assert len(named) > 20
    assert {name for name in named if not any(hasattr(module, name) for module in public)} <= others


def test_package_every_error_that_it_raises_can_be_caught_by_its_name() -> None:
    """No class of errors has to be imported from a module that is not public."""
    for module in walk_packages(miniclaw.__path__, "miniclaw."):
        if module.name != "miniclaw.__main__":
            import_module(module.name)
    waiting, private = [miniclaw.MiniclawError], []
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        if error.__module__.startswith("miniclaw.") and getattr(miniclaw, error.__name__, None) is not error:
            private.append(error.__module__)
    kept = ("admin.", "agent.", "channels.", "cli.", "session.live.save_job")  # which catch what they raise
    assert not [module for module in private if not module.removeprefix("miniclaw.").startswith(kept)]
    assert {*miniclaw.errors.__all__} <= {*miniclaw.__all__}


def test_package_star_import_gives_every_public_name() -> None:
    """``__all__`` and what can be imported are the same."""
    names: dict[str, object] = {}
    exec("from miniclaw import *", names)  # noqa: S102 - the statement cannot stand in a function
    assert set(miniclaw.__all__) <= names.keys()


@pytest.mark.parametrize("name", ["Gateway", "open_rumtime", "__wrapped__"])
def test_package_unknown_name_is_an_attribute_error(name: str) -> None:
    """A misspelt name is told as by any other module."""
    with pytest.raises(AttributeError, match=f"module 'miniclaw' has no attribute '{name}'"):
        getattr(miniclaw, name)


@pytest.mark.parametrize(
    "code",
    [
        f"import miniclaw; {_IS_LOADED}",
        f"from miniclaw import Session, Message, ToolCall, RetentionPolicy, MiniclawError; {_IS_LOADED}",
        _run_and_say("--version"),
        _run_and_say("sessions", "list"),
        _run_and_say("sessions", "cleanup", "--dry-run"),
        _run_and_say("config", "show"),
    ],
    ids=["import", "types", "version", "list", "dry-run", "config"],
)
def test_package_what_only_looks_does_not_load_trio(code: str, tmp_path: Path) -> None:
    """A command that only looks at files starts quickly on a small board."""
    (tmp_path / "workspace" / "sessions").mkdir(parents=True)
    assert _python(code, tmp_path) == "False"


def test_package_the_runtime_loads_trio_when_it_is_asked_for(tmp_path: Path) -> None:
    """The runtime's name can be had from the package in a fresh process; that it loads trio proves the check above."""
    assert _python(f"from miniclaw import open_runtime; {_IS_LOADED}", tmp_path) == "True"


def _imports(before: str, code: str, home: Path) -> set[str]:
    """Return the modules that code imports in a fresh process, after other code."""
    script = f"import sys\n{before}\nearlier = {{*sys.modules}}\n{code}\nprint({{*sys.modules}} - earlier)"
    return {*ast.literal_eval(_python(script, home))}


def test_package_its_import_is_that_of_one_module(tmp_path: Path) -> None:
    """`import miniclaw` takes a millisecond."""
    assert _imports("", "import miniclaw", tmp_path) <= {"miniclaw", "__future__"}


_RUNTIME_PARTS = "clock errors foreign formats loggers session stores"


@pytest.mark.parametrize(
    ("code", "packages"),
    [
        ("from miniclaw import open_runtime", {"concurrent"}),
        ("from miniclaw import blocking", {"concurrent", "anyio", "dataclasses"}),
    ],
    ids=["runtime", "blocking"],
)
def test_package_runtime_imports_nothing_of_the_gateway_and_few_modules_beside_trio(
    code: str, packages: set[str], tmp_path: Path
) -> None:
    """Beyond trio and msgspec, a program that embeds the runtime waits for the runtime's own modules only."""
    imported = _imports("import trio, msgspec", code, tmp_path)
    own = {name.split(".")[1] for name in imported if name.startswith("miniclaw.")}
    assert own <= {*_RUNTIME_PARTS.split(), *code.split()[3:]} - {"open_runtime"}
    others = {name.partition(".")[0] for name in imported} - {"miniclaw", "__future__"}
    assert others <= packages


def test_constraints_lock_every_requirement_and_name_no_address() -> None:
    """Whatever the project asks for is in the lock with one version that it admits; `nox -s lock` renews it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    name = project["project"]["name"]
    asked = [
        *map(Requirement, project["project"]["dependencies"]),
        *(Requirement(text) for extra in project["project"]["optional-dependencies"].values() for text in extra),
        *(Requirement(text) for group in project["dependency-groups"].values() for text in group),
    ]
    text = (ROOT / "constraints.txt").read_text()
    locked = [Requirement(line) for line in text.splitlines()]
    versions = {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in locked}
    assert all(str(line.specifier).startswith("==") for line in locked)
    for requirement in asked:
        if requirement.name != name:
            assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), str(requirement)
    assert "/" not in text
    assert "@" not in text


def test_texts_never_tell_to_install_the_foreign_distribution() -> None:
    """On PyPI, ``miniclaw`` is another project: installing an extra of it would replace ours."""
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "miniclaw").rglob("*.py")]
    foreign = re.compile(r"(?<![-\w])miniclaw\[[a-z]|install (-\S+ )*['\"]?miniclaw\b")
    assert not [str(path) for path in texts if foreign.search(path.read_text())]
