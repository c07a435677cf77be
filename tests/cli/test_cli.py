"""The program as a whole: help, version, exit codes, configuration. Each test runs it in a process of its own, which most fork."""

from __future__ import annotations

import gc
import json
import tomllib
from importlib.metadata import version

import click
import pytest

from miniclaw.cli import cli
from miniclaw.cli.lazy import LazyGroup
from miniclaw.config import Config, parse_config
from miniclaw.session.files.directory import SessionDirectory
from tests.fakes.program import Program

COMMANDS = [
    ["sessions", "cleanup", "--dry-run"], ["sessions", "list"], ["chat", "-m", "hi"], ["gateway"], ["status"],
    ["sessions", "stats"], ["sessions", "forecast"], ["sessions", "delete", "--yes", "telegram_1"],
    ["sessions", "pin", "telegram_1"], ["trash", "empty", "--yes"], ["trash", "empty", "--yes", "--expired"],
    ["quarantine", "list"], ["quarantine", "add", "telegram_1.json"],
]  # fmt: skip
LOOKING = [
    ["sessions", "list"], ["sessions", "show", "web_a"], ["sessions", "stats"], ["sessions", "export", "web_a"],
    ["sessions", "due"], ["sessions", "forecast"], ["sessions", "cleanup", "--dry-run"], ["sessions", "delete", "--dry-run", "web_a"],
    ["sessions", "delete", "--dry-run", "--erase", "--channel", "web"], ["trash", "list"],
    ["trash", "empty", "--dry-run"], ["history"], ["status"], ["config", "show"],
    ["config", "check"], ["quarantine", "list"], ["quarantine", "show", "web_q"],
    ["quarantine", "delete", "--dry-run", "web_q"],
]  # fmt: skip
HEAVY = frozenset({
    "trio", "anyio", "structlog", "rich", "starlette", "hypercorn", "h11", "wsproto", "trio_websocket",
    "prometheus_client", "httpx2", "asyncio", "ssl", "socket", "logging", "secrets", "tomllib", "http", "email",
    "subprocess", "tempfile", "zoneinfo",
})  # fmt: skip
# Only what comes after the beginning counts: the measuring of the coverage loads much before.
_TELL_LOADED = """
import atexit, sys
before = set(sys.modules)
from miniclaw.__main__ import main
atexit.register(lambda: print(*sys.modules.keys() - before, file=sys.stderr))
main()
"""
BAD_CONFIGS = {
    "zero": '[session]\nttl = "0"\n',
    "bare number": "[session]\nttl = 30\n",
    "unknown key": "[session]\nttl_days = 30\n",
    "unknown table": "[sessions]\n",
    "not TOML": "ttl: 30d\n",
    "bad level": '[log]\nlevel = "loud"\n',
}


def test_version_is_that_of_the_package(program: Program) -> None:
    """The version that is shown is the one that is installed."""
    result = program.run("--version")
    assert (result.code, result.out) == (0, f"miniclaw {version('trio-miniclaw')}\n")


@pytest.mark.parametrize(
    "command",
    [["--version"], ["sessions", "list", "--help"], ["sessions", "purge"], ["sessions", "list"], ["sessions", "delete"],
     ["sessions", "pin", "web_a"], ["sessions", "show", "web_b"], ["chat", "--as", "me", "-m", "hi"], ["status"]],
    ids=" ".join,
)  # fmt: skip
def test_program_that_is_forked_does_what_one_does_that_an_interpreter_runs(
    program: Program, command: list[str]
) -> None:
    """What the other tests fork is the program that a user starts: exit code, both outputs, and the files."""
    seen = []
    for run in (program.run, program.run_interpreter):
        path = program.add("web_a", days=40, pinned=False)
        result = run(*command)
        seen.append((result.code, result.out, result.err, json.loads(path.read_text()).get("pinned"), program.files()))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_command(program: Program, option: str) -> None:
    """Whoever asks for help sees all there is."""
    result = program.run(option)
    assert result.code == 0
    for command in ("gateway", "chat", "sessions", "trash", "quarantine", "history", "status", "config"):
        assert f"\n  {command} " in result.out


@pytest.mark.parametrize(
    "command",
    [["gateway"], ["chat"], ["sessions"], ["sessions", "list"], ["sessions", "show"], ["sessions", "stats"],
     ["sessions", "export"], ["sessions", "forecast"], ["sessions", "cleanup"], ["sessions", "delete"],
     ["sessions", "pin"], ["sessions", "unpin"], ["trash"], ["trash", "list"], ["trash", "restore"],
     ["trash", "empty"], ["quarantine"], ["quarantine", "list"], ["quarantine", "show"], ["quarantine", "restore"],
     ["quarantine", "delete"], ["quarantine", "add"], ["history"], ["status"], ["config"], ["config", "show"], ["config", "check"]],
    ids=" ".join,
)  # fmt: skip
def test_help_of_a_command_changes_nothing(program: Program, command: list[str]) -> None:
    """Every command explains itself, and asking makes no file."""
    result = program.run(*command, "--help")
    assert result.code == 0
    assert f" {' '.join(command)} " in result.out.splitlines()[0]
    assert not program.home.exists()


@pytest.mark.parametrize(
    "command",
    [["sesions"], ["sessions", "purge"], ["sessions", "pin"], ["trash", "restore"], ["history", "--limit", "0"],
     ["sessions", "forecast", "--days", "-1"], ["sessions", "forecast", "--days", "36501"], ["sessions", "list", "--all"], ["sessions", "show"], ["sessions", "delete", "--yes"],
     ["--verbose"], ["chat", "-m"], ["sessions", "cleanup", "--yes", "telegram_1"], ["quarantine", "add"],
     ["quarantine", "delete", "--yes"], ["quarantine", "show"], ["quarantine", "restore"]],
    ids=" ".join,
)  # fmt: skip
def test_usage_error_is_exit_code_2_and_changes_nothing(program: Program, command: list[str]) -> None:
    """A command that is used wrongly says so, and does nothing."""
    path = program.add("telegram_1", days=31)
    result = program.run(*command)
    assert result.code == 2
    assert result.out == ""
    assert result.err
    assert path.exists()


@pytest.mark.parametrize(
    ("command", "text"),
    [(["sessions", "cleanup", "--yes"], text) for text in BAD_CONFIGS.values()]
    + [(command, BAD_CONFIGS["zero"]) for command in COMMANDS],
)
def test_bad_configuration_is_exit_code_2_and_nothing_is_deleted(
    program: Program, command: list[str], text: str
) -> None:
    """With a configuration that is not right no command runs; least of all by the default."""
    path = program.add("telegram_1", days=400)
    program.write_config(text)
    result = program.run(*command)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith(f"miniclaw: {program.config_path}: ")
    assert len(result.err.splitlines()) == 1
    assert path.exists()
    assert not program.state_dir.exists()


def test_relative_home_is_exit_code_2(program: Program) -> None:
    """A home that depends on the working directory is refused before anything is read."""
    result = program.run("sessions", "list", MINICLAW_HOME="claw")
    assert (result.code, result.out) == (2, "")
    assert result.err == "miniclaw: MINICLAW_HOME='claw': give an absolute path\n"


def test_named_configuration_that_is_missing_is_exit_code_2(program: Program) -> None:
    """A configuration that was asked for by name never means the defaults."""
    path = program.add("telegram_1", days=400)
    missing = program.home / "other.toml"
    result = program.run("--config", str(missing), "sessions", "cleanup", "--yes")
    assert (result.code, result.err) == (2, f"miniclaw: {missing}: there is no such file\n")
    assert path.exists()


def test_named_configuration_is_used_instead_of_the_usual_one(program: Program) -> None:
    """With --config the file in the home does not count, not even its mistakes."""
    program.write_config("broken")
    other = program.home / "other.toml"
    other.write_text('[session]\nttl = "5d"\n')
    result = program.run("--config", str(other), "config", "show", "--json")
    assert result.code == 0
    assert result.json["file"] == str(other)
    assert result.json["config"]["session"]["ttl"] == "5d"


def test_config_show_without_a_file_shows_the_defaults_and_says_so(program: Program) -> None:
    """Whoever has no file sees what holds, and where a file would lie."""
    result = program.run("config", "show")
    assert result.code == 0
    assert f"# {program.config_path} (there is none" in result.lines[0]
    assert 'ttl = "30d"' in result.lines
    assert not program.home.exists()


def test_config_show_output_is_a_configuration_file_of_the_same_meaning(program: Program) -> None:
    """What is shown can be put into the file as it is."""
    program.write_config(
        '[session]\nttl = "90d"\nnotice = "off"\nttl_by_channel = {telegram = "1w", web = "never"}\n'
        '[log]\nlevel = "debug"\n'
    )
    wanted = parse_config(tomllib.loads(program.config_path.read_text()))
    assert wanted != Config()
    result = program.run("config", "show")
    assert result.code == 0
    assert parse_config(tomllib.loads(result.out)) == wanted


def test_config_show_json_holds_every_key_that_has_a_default(program: Program) -> None:
    """For programs: the same, as JSON."""
    result = program.run("config", "show", "--json")
    assert result.code == 0
    assert result.json["config"]["session"] == {
        "ttl": "30d", "max_sessions": "never", "max_disk_bytes": "never", "min_free_disk": "never",
        "max_removed_fraction": "never", "trash_for": "7d", "quarantine_for": "90d",
        "persistence_interval": "30s", "max_session_bytes": "64MiB", "cleanup_interval": "1d", "notice": "on", "mode": "enforce",
    }  # fmt: skip
    assert result.json["config"]["log"] == {"level": "info", "format": "auto"}


def _furnish(program: Program) -> None:
    program.add("web_a", days=40)
    (program.sessions_dir / ".quarantine").mkdir(mode=0o700)
    (program.sessions_dir / ".quarantine" / "web_q.json.20261001T083015Z-0a1b2c3d").write_text("{")


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_command_that_looks_starts_quickly_and_changes_nothing(program: Program, command: list[str]) -> None:
    """Nothing heavy is loaded to print some lines, and no file is made or changed."""
    _furnish(program)
    before = program.content()
    result = program.run_python(_TELL_LOADED, *command)
    assert (result.code, sorted(HEAVY.intersection(result.err.split()))) == (0, [])
    assert program.content() == before


def test_list_loads_few_modules_beside_its_libraries(program: Program) -> None:
    """Each module costs a fiftieth of an interpreter's start; what is needed only sometimes waits until then."""
    program.add("web_a", days=40)
    loaded = program.run_python(f"import click, locale, msgspec, pathlib\n{_TELL_LOADED}", "sessions", "list")
    assert len(loaded.err.split()) <= 93, loaded.err


def test_heavy_modules_are_seen_where_a_command_loads_them(program: Program) -> None:
    """Proves the test above: what sends a message loads trio, and with it much else."""
    result = program.run_python(_TELL_LOADED, "chat", "-m", "hi")
    assert {"trio", "logging", "socket"} <= set(result.err.split())


def test_collector_is_at_work_once_a_command_is_imported(program: Program) -> None:
    """Garbage is looked for while a command runs, also after one that could not be imported: a gateway runs for months."""
    script = (
        "import atexit, gc; from miniclaw.__main__ import main; atexit.register(lambda: print(gc.isenabled())); main()"
    )
    assert program.run_python(script, "config", "show").lines[-1] == "True"
    group = LazyGroup(lazy={"broken": ("nowhere:nothing", "Cannot be imported.")})
    with pytest.raises(ModuleNotFoundError):
        group.get_command(click.Context(group), "broken")
    assert gc.isenabled()


@pytest.mark.parametrize("command", LOOKING, ids=" ".join)
def test_command_that_looks_works_beside_a_gateway(program: Program, command: list[str]) -> None:
    """Looking needs no lock, and asks for none that a gateway could miss."""
    _furnish(program)
    with SessionDirectory.open(program.sessions_dir) as directory:
        directory.own()
        assert program.run(*command).code == 0


def test_groups_know_their_commands_by_the_right_names() -> None:
    """What the help lists can be called, and says the same of itself."""
    groups = [cli]
    for group in groups:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            assert command.name == name
            if isinstance(command, LazyGroup):
                groups.append(command)
    assert len(groups) == 2
    assert cli.get_command(click.Context(cli), "nonsense") is None
