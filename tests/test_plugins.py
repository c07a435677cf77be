"""Plugins: models and channels of installed packages, from real distributions on the module search path."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from miniclaw.config import Config, config_of_tables, parse_config, show_config
from miniclaw.config.model import PluginModelConfig
from miniclaw.errors import BrokenConfigError, ConfigError
from miniclaw.gateway import Home, run_gateway
from miniclaw.plugins import CHANNELS, MODELS, open_plugin
from tests.fakes.distribution import install
from tests.fakes.logs import LogRecorder
from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.threads import until
from tests.test_gateway import ScriptedChannel

PARROT = """
    from contextlib import asynccontextmanager

    import trio


    class Parrot:
        name = "parrot"

        def __init__(self, table):
            self.table = table

        @asynccontextmanager
        async def stream(self, messages):
            async def say():
                yield self.table.get("phrase", "squawk")

            yield say()


    @asynccontextmanager
    async def opened(table):
        with open(table["file"], "w") as file:
            yield Parrot(table)
            file.write("closed")


    @asynccontextmanager
    async def failing(table):
        yield Parrot(table)
        raise KeyError("on leaving")


    @asynccontextmanager
    async def crashing(table):
        parrot = Parrot(table)
        parrot.crash = trio.Event()

        async def crash():
            await parrot.crash.wait()
            raise KeyError("in the background")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            yield parrot
            nursery.cancel_scope.cancel()


    @asynccontextmanager
    async def hanging(table):
        yield Parrot(table)
        await trio.sleep_forever()
"""

TICKER = """
    import trio
    from miniclaw.gateway import InboundMessage


    class Ticker:
        def __init__(self, table):
            self.name = table.get("name", "ticker")
            self.table = table

        async def run(self, inbound, *, task_status=trio.TASK_STATUS_IGNORED):
            task_status.started()
            await inbound.send(InboundMessage(self.name, "1", self.table["text"]))
            await trio.sleep_forever()

        async def send(self, message):
            print(message.content, flush=True)
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of installed packages."""
    directory = tmp_path / "packages"
    directory.mkdir()
    monkeypatch.syspath_prepend(directory)
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def errors_of(values: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    return [f"{error.key}: {error.problem}" for error in caught.value.errors]


# The configuration ----------------------------------------------------------------------------------------------


def test_parse_config_plugin_gets_its_own_keys_as_they_stand(packages: Path) -> None:
    """Keys of a plugin are not ours to judge; what is shown of them is the same configuration again."""
    install(packages, PARROT, models="parrot = Parrot")
    install(packages, TICKER, package="ticker", channels="tick = Ticker")
    values: dict[str, dict[str, Any]] = {
        "model": {"provider": "parrot", "phrase": "hi", "max_retries": "many", "deep": {"a.b": [1, {"c": 0.5}]}},
        "channels": {"tick": {"text": "tick", "nested": {"on": True}}},
    }
    config = parse_config(values)
    assert isinstance(config.model, PluginModelConfig)
    assert config.model.options == {key: value for key, value in values["model"].items() if key != "provider"}
    assert config.channels == values["channels"]
    shown = show_config(config)
    assert shown["model"] == values["model"]
    assert config_of_tables(shown) == config
    dated = parse_config({"model": {"provider": "parrot", "since": date(2026, 1, 2)}})
    assert show_config(dated)["model"]["since"] == "2026-01-02"


def test_parse_config_plugin_that_is_not_installed_is_refused_with_those_that_are(packages: Path) -> None:
    """The error lists the names, and suggests the nearest; every table is checked."""
    install(packages, PARROT, models="parrot = Parrot\nmynah = Parrot", channels="squawk = Parrot")
    model, channel = errors_of({"model": {"provider": "parot", "phrase": "hi"}, "channels": {"tick": {}}})[::-1]
    assert model == (
        'model.provider: "parot" is not the name of an installed model; '
        'installed are: echo, openai, mynah, parrot; did you mean "parrot"?'
    )
    assert channel == 'channels.tick: "tick" is not the name of an installed channel; installed are: squawk'


def test_parse_config_without_any_plugin_says_so() -> None:
    """A table for a channel of no package names no channel to choose."""
    assert errors_of({"channels": {"tick": {}}}) == [
        'channels.tick: "tick" is not the name of an installed channel; installed are: none'
    ]


def test_parse_config_name_that_two_packages_have_is_refused_with_both(packages: Path) -> None:
    """Which of two packages answers is no matter of chance."""
    install(packages, PARROT, models="parrot = Parrot")
    install(packages, PARROT, package="other-parrots", version="7", models="parrot = Parrot")
    assert errors_of({"model": {"provider": "parrot"}}) == [
        "model.provider: several installed packages have a model 'parrot': other-parrots 7, parrot-models 1.2"
    ]


async def test_own_names_cannot_be_taken_by_a_package(packages: Path, home: Home) -> None:
    """What is ours remains ours, whatever a package registers."""
    install(packages, "raise AssertionError", models="echo = x\nopenai = x", channels="web = x\ntelegram = x")
    for name in ("web", "console", "telegram"):
        problem = "miniclaw has a channel of this name itself; a package cannot replace it"
        assert errors_of({"channels": {name: {}}}) == [f"channels.{name}: {problem}"]
    assert errors_of({"model": {"provider": "x"}})[0].endswith("installed are: echo, openai")
    assert parse_config({"model": {"provider": "echo"}}) == Config()
    assert await answer(parse_config({"model": {"provider": "echo"}}), home) == "hello"


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        ({"My Channel": {}}, "channels.My Channel: the name of a channel is 1 to 32 of a-z, 0-9 and -"),
        ({"tick": 5}, "channels.tick: it is not a table; [channels.tick] begins one"),
        (5, "channels: 5 is not a table"),
    ],
)
def test_parse_config_channels_that_are_no_tables_are_refused(channels: Any, words: str) -> None:
    """In the form of all other errors, and beside them."""
    assert errors_of({"channels": channels, "log": {"level": 1}})[0] == words


# Opening --------------------------------------------------------------------------------------------------------


async def answer(config: Config, home: Home) -> str:
    """Return the answer to "hello" by a gateway with this configuration."""
    channel = ScriptedChannel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(run_gateway, config, home, channels=[channel]))
        await channel.say.send("hello")
        reply = await channel.replies.receive()
        channel.say.close()
    return reply.content


async def test_model_of_a_package_answers(packages: Path, home: Home) -> None:
    """The factory gets its table, and what it makes is the gateway's model."""
    install(packages, PARROT, models="parrot = Parrot")
    assert await answer(parse_config({"model": {"provider": "parrot", "phrase": "hi"}}), home) == "hi"


async def test_model_of_a_package_that_is_a_context_manager_is_closed(packages: Path, home: Home) -> None:
    """It is open for as long as the gateway runs, and closed after it."""
    install(packages, PARROT, models="parrot = opened")
    file = packages / "closed"
    assert await answer(parse_config({"model": {"provider": "parrot", "file": str(file)}}), home) == "squawk"
    assert file.read_text() == "closed"


BROKEN = {
    "no module": ("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such_module_here'"),
    "no object": ("", "AttributeError: module"),
    "syntax": ("def", "SyntaxError: "),
    "refuses": ("def factory(table): raise ValueError('phrase: it is empty')", "phrase: it is empty"),
    "bug": ("def factory(table): raise KeyError('phrase')", "KeyError: 'phrase'"),
    "wrong arguments": ("def factory(): pass", "TypeError: factory() takes 0 positional arguments"),
    "no BaseException passes": ("def factory(table): raise GeneratorExit", "GeneratorExit"),
    "no model": ("def factory(table): return 5", "which is no model: it has no stream"),
    "no name": (
        "class factory:\n  def __init__(self, table): pass\n  def stream(self): pass",
        "it has no name, a text",
    ),
    "opening": (
        "from contextlib import asynccontextmanager\n@asynccontextmanager\nasync def factory(table):\n"
        "  raise OSError(5, 'no network')\n  yield",
        "OSError: [Errno 5] no network",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_plugin_that_cannot_be_used_is_one_error_with_its_package(packages: Path, case: str) -> None:
    """Key, package and reason, whatever the code of the package does; its own exception is the cause."""
    code, words = BROKEN[case]
    install(packages, code, models="parrot = factory")
    with pytest.raises(ConfigError) as caught:
        async with open_plugin(MODELS, "parrot", {}, "model.provider"):
            raise AssertionError
    assert caught.value.key == "model.provider"
    assert caught.value.problem.startswith("the package parrot-models 1.2 could not be used: ")
    assert words in caught.value.problem
    assert not isinstance(caught.value, BrokenConfigError)
    assert caught.value.__cause__ is not None


async def test_channel_of_a_package_under_another_name_is_refused(packages: Path) -> None:
    """The name of the table is the channel's name in each session, so that the two cannot differ."""
    install(packages, TICKER, channels="tick = Ticker")
    with pytest.raises(ConfigError, match=r"its channel's name is 'ticker', and has to be 'tick'"):
        async with open_plugin(CHANNELS, "tick", {}, "channels.tick"):
            raise AssertionError


async def test_plugin_cannot_change_the_configuration(packages: Path) -> None:
    """It gets a copy, also of inner tables."""
    install(packages, PARROT, models="parrot = Parrot")
    table: dict[str, Any] = {"inner": {"a": 1}}
    async with open_plugin(MODELS, "parrot", table, "model.provider") as model:
        model.table["inner"]["a"] = 2
    assert table == {"inner": {"a": 1}}


async def test_plugin_that_fails_on_leaving_is_logged(packages: Path, logs: LogRecorder) -> None:
    """The end goes on."""
    logs.expect_error("Plugin failed")
    install(packages, PARROT, models="parrot = failing")
    async with open_plugin(MODELS, "parrot", {}, "model.provider"):
        pass
    event = logs.one("Plugin failed")
    assert (event["kind"], event["plugin"], event["package"]) == ("model", "parrot", "parrot-models 1.2")
    assert "on leaving" in event["traceback"]


async def test_plugin_whose_nursery_fails_cancels_nothing_but_itself(packages: Path, logs: LogRecorder) -> None:
    """A background task of a plugin that crashes is no end of the gateway."""
    logs.expect_error("Plugin failed")
    install(packages, PARROT, models="parrot = crashing")
    async with open_plugin(MODELS, "parrot", {}, "model.provider") as model:
        model.crash.set()
        await until(lambda: bool(logs.named("Plugin failed")))
        async with model.stream([]) as pieces:
            assert [piece async for piece in pieces] == ["squawk"]


async def test_plugin_that_does_not_close_is_cancelled_after_its_grace(
    packages: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """The end waits for foreign code for a bounded time; the clock jumps by that time."""
    install(packages, PARROT, models="parrot = hanging")
    began = trio.current_time()
    with trio.fail_after(PATIENCE_SECONDS):
        async with open_plugin(MODELS, "parrot", {}, "model.provider"):
            pass
    assert trio.current_time() - began == 5


async def test_error_of_the_block_passes_by_a_plugin(packages: Path) -> None:
    """It is the caller's, and no failure of the plugin."""
    install(packages, PARROT, models="parrot = crashing")
    with pytest.RaisesGroup(OSError):
        async with open_plugin(MODELS, "parrot", {}, "model.provider"):
            raise OSError("ours")


# The real program -----------------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path: Path, packages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a program that finds the packages."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_gateway_program_runs_the_plugins_of_its_configuration(program: Path, packages: Path) -> None:
    """A channel and a model of installed packages talk to each other, and SIGTERM ends both."""
    install(packages, PARROT, models="parrot = opened")
    install(packages, TICKER, package="tickers", channels="ticker = Ticker")
    closed = packages / "closed"
    (program / "config.toml").write_text(
        f"[model]\nprovider = 'parrot'\nphrase = 'tock'\nfile = {json.dumps(str(closed))}\n"
        "[channels.ticker]\ntext = 'tick'\n"
    )
    command = [sys.executable, "-m", "miniclaw", "gateway", "--port", "0"]
    environment = {**os.environ, "MINICLAW_HOME": str(program)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert "tock\n" in iter(process.stdout.readline, "")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_SECONDS) == 0
        finally:
            process.kill()
    assert closed.read_text() == "closed"
    saved = json.loads((program / "workspace" / "sessions" / "ticker_1.json").read_text())
    assert [message["content"] for message in saved["messages"]] == ["tick", "tock"]


def test_gateway_program_refuses_a_broken_plugin_in_one_line(program: Path, packages: Path) -> None:
    """A user gets no traceback of a package, and nothing is opened."""
    install(packages, "import no_such_module_here", models="parrot = Parrot")
    (program / "config.toml").write_text("[model]\nprovider = 'parrot'\n")
    done = subprocess.run(
        [sys.executable, "-m", "miniclaw", "gateway", "--port", "0"],
        env={**os.environ, "MINICLAW_HOME": str(program)},
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "miniclaw: model.provider: the package parrot-models 1.2 could not be used: "
        "ModuleNotFoundError: No module named 'no_such_module_here'\n"
    )
    assert not (program / "workspace").exists()


def test_config_show_writes_the_tables_of_plugins_as_toml(program: Path, packages: Path) -> None:
    """What is shown can be used as the file again, whatever keys and values a package takes."""
    install(packages, PARROT, models="parrot = Parrot", channels="tick = Parrot")
    text = '[model]\nprovider = "parrot"\n"odd key" = {"a.b" = [1, {c = 0.5}], d = inf}\n[channels.tick]\non = true\n'
    (program / "config.toml").write_text(text)
    environment = {**os.environ, "MINICLAW_HOME": str(program)}
    command = [sys.executable, "-m", "miniclaw", "config", "show"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "\n[channels.tick]\non = true\n" in shown
    assert '\n"odd key" = {"a.b" = [1,{"c" = 0.5}], "d" = inf}\n' in shown
    (program / "config.toml").write_text(shown)
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert again == shown
