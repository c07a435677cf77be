"""Plugins: models and channels of other installed packages, found by their entry points.

A package registers a factory in the group ``miniclaw.models`` or ``miniclaw.channels``. The configuration names it, and
the factory gets its own table of the configuration: docs/model-authors.md and docs/channel-authors.md have an example.

Only a plugin that the configuration names is imported. It is foreign code: whatever it raises before it has started is
one `ConfigError` that names the package; whatever it raises later is one ERROR in the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from miniclaw.errors import ConfigError, MiniclawError
from miniclaw.formats import did_you_mean
from miniclaw.loggers import get_logger
from miniclaw.session.names import is_channel

if TYPE_CHECKING:  # start-up time: needed only if a plugin is named
    from importlib.metadata import EntryPoint

    import trio

CLOSING_SECONDS: Final = 5
"""Time limit for a plugin to close; then it is cancelled."""

log: Final = get_logger("miniclaw.plugins")


class PluginKind(Struct, frozen=True):
    """A kind of plugin.

    Attributes:
        noun: Its noun in messages.
        own: The names of miniclaw's own ones, which a package cannot take.
        methods: The methods that each has, besides the attribute `name`.
    """

    noun: str
    own: tuple[str, ...]
    methods: tuple[str, ...]

    @property
    def group(self) -> str:
        """The group of its entry points."""
        return f"miniclaw.{self.noun}s"


MODELS: Final = PluginKind("model", ("echo", "openai"), ("stream",))
"""Models, which ``[model] provider = "NAME"`` chooses."""

CHANNELS: Final = PluginKind("channel", ("console", "telegram", "web"), ("run", "send"))
"""Channels, each of which a table ``[channels.NAME]`` switches on."""


def check_plugin(kind: PluginKind, name: str, key: str, path: Path | None) -> None:
    """Check that exactly one installed package has a plugin of a name; the package is not imported.

    Args:
        kind: The kind of plugin.
        name: Its name; not one of the kind's own.
        key: The key of the configuration that names it.
        path: The configuration's file, for messages.

    Raises:
        ConfigError: No package has it, and the error lists the names that exist; or several have it.
    """
    _find(kind, name, key, path)


def check_channel_tables(tables: Mapping[str, object], path: Path | None) -> None:
    """Check the tables ``[channels.NAME]`` of the configuration.

    Raises:
        ConfigError: For the first table whose name is malformed or miniclaw's own, or that is no table, or that no
            installed package has a channel for.
    """
    for name, table in tables.items():
        key = f"channels.{name}"
        if not is_channel(name):
            raise ConfigError(path, "the name of a channel is 1 to 32 of a-z, 0-9 and -", key=key)
        if name in CHANNELS.own:
            raise ConfigError(path, "miniclaw has a channel of this name itself; a package cannot replace it", key=key)
        if not isinstance(table, dict):
            raise ConfigError(path, f"it is not a table; [{key}] begins one", key=key)
        check_plugin(CHANNELS, name, key, path)


@asynccontextmanager
async def open_plugin(kind: PluginKind, name: str, table: Mapping[str, Any], key: str) -> AsyncIterator[Any]:
    """Open a plugin for a block: call its factory with its table, and enter the result if it is a context manager.

    A task of its own holds it open, so that a failure in a nursery of the plugin cancels no code but its own. At the
    end the plugin has `CLOSING_SECONDS` to close.

    Args:
        kind: The kind of plugin.
        name: Its name.
        table: Its table of the configuration; the plugin gets a copy.
        key: The key of the table, for messages.

    Raises:
        ConfigError: It cannot be found, imported or opened, or is no model or channel. `ValueError` and `MiniclawError`
            of the factory are told by their text, other exceptions by their class as well.
        ExceptionGroup: Errors of the block.
    """
    import copy  # noqa: PLC0415 - start-up time: the configuration is also read where no plugin is opened

    import trio  # noqa: PLC0415 - likewise

    plugin = _Plugin(kind, name, _find(kind, name, key, None), key)
    over = trio.Event()
    refused: ConfigError | None = None
    async with trio.open_nursery() as nursery:
        try:
            part = await nursery.start(plugin.hold, copy.deepcopy(dict(table)), over)
        except ConfigError as error:
            refused = error  # raised below, as itself and in no group
        else:
            yield part
            nursery.cancel_scope.deadline = trio.current_time() + CLOSING_SECONDS
            over.set()
    if refused is not None:
        raise refused


class _Plugin:
    """A plugin that an installed package registers."""

    def __init__(self, kind: PluginKind, name: str, entry: EntryPoint, key: str) -> None:
        self._kind = kind
        self._name = name
        self._entry = entry
        self._key = key

    async def hold(self, table: dict[str, Any], over: trio.Event, *, task_status: trio.TaskStatus[Any]) -> None:
        """Open the plugin, and close it when the event is set."""
        from miniclaw.foreign import Contained  # noqa: PLC0415 - start-up time

        errors: list[BaseException] = []
        started = False
        with Contained(errors.append):
            made = self._entry.load()(table)
            opened: AbstractAsyncContextManager[Any] = made if hasattr(type(made), "__aenter__") else nullcontext(made)
            async with opened as part:
                self._check(part)
                started = True
                task_status.started(part)
                await over.wait()
        if errors and started:
            log.bug("Plugin failed", errors[0], kind=self._kind.noun, plugin=self._name, package=_package(self._entry))
        elif errors:
            raise self._refused(errors[0]) from errors[0]

    def _check(self, part: object) -> None:
        """Refuse a part that is no model or channel."""
        kind = self._kind
        missing = [method for method in kind.methods if not callable(getattr(part, method, None))]
        if not isinstance(getattr(part, "name", None), str):
            missing.append("name, a text")
        if missing:
            raise ValueError(f"{self._entry.value} made {part!r:.80}, which is no {kind.noun}: it has no {missing[0]}")
        if kind is CHANNELS and getattr(part, "name", None) != self._name:
            raise ValueError(f"its channel's name is {getattr(part, 'name', None)!r:.80}, and has to be {self._name!r}")

    def _refused(self, error: BaseException) -> ConfigError:
        from miniclaw.foreign import name_of, only, text_of  # noqa: PLC0415 - start-up time
        from miniclaw.secret import redact  # noqa: PLC0415 - likewise: it imports the modules of private files

        text = redact(text_of(error)).strip()
        said = only(error, ValueError) or only(error, MiniclawError)
        reason = text if said is error and text else f"{name_of(error)}: {text}".removesuffix(": ")
        return ConfigError(None, f"the package {_package(self._entry)} could not be used: {reason}", key=self._key)


def _find(kind: PluginKind, name: str, key: str, path: Path | None) -> EntryPoint:
    found = _installed(kind, key, path)
    fitting = [entry for entry in found if entry.name == name]
    if len(fitting) > 1:
        packages = ", ".join(sorted(map(_package, fitting)))
        raise ConfigError(path, f"several installed packages have a {kind.noun} {name!r}: {packages}", key=key)
    if not fitting:
        known = [*kind.own, *sorted({entry.name for entry in found})]
        there = ", ".join(known if kind is MODELS else known[len(kind.own) :]) or "none"
        problem = f'"{name:.60}" is not the name of an installed {kind.noun}; installed are: {there}'
        raise ConfigError(path, problem + did_you_mean(name, known), key=key)
    return fitting[0]


def _installed(kind: PluginKind, key: str, path: Path | None) -> Collection[EntryPoint]:
    """Return the entry points of all installed packages, without those that take a name of miniclaw's own."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - start-up time

    try:
        return [entry for entry in entry_points(group=kind.group) if entry.name not in kind.own]
    except Exception as error:  # the metadata of any package may be broken
        problem = f"the installed packages could not be listed: {type(error).__name__}: {error}"
        raise ConfigError(path, problem, key=key) from error


def _package(entry: EntryPoint) -> str:
    """Return the name and version of a package; without them, the module of its factory."""
    try:
        return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.module
    except Exception:  # noqa: BLE001 - its metadata may be broken
        return entry.value
