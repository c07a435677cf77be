"""The workspace as a command opens it: read directly, and changed by the gateway that runs or by the command as owner.

A running gateway saves its dirty sessions before a read, and is asked for the rules that it removes by; a file that
differs or is invalid is reported in one line. A gateway that does not answer is asked once for each command. A command
that only reads then continues, with a WARNING that names the missing part. A process that owns the workspace and has no
socket, such as a gateway on a file system without sockets, a program that embeds the runtime, or `miniclaw chat` by
itself, cannot be asked: a WARNING names it, and an operation is refused.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, Literal, ParamSpec, TypeAlias, TypeVar

import click
from msgspec import Struct

from miniclaw import loggers as logs
from miniclaw.cli import Settings
from miniclaw.cli.output import scan_progress
from miniclaw.config import Config, config_of_tables, differences, show_config
from miniclaw.config.values import as_toml
from miniclaw.config.web import SOCKET_NAME
from miniclaw.errors import (
    ConfigError,
    DifferentRulesError,
    GatewayBusyError,
    GatewayStalledError,
    MiniclawError,
    NoGatewayError,
    StoreError,
    WorkspaceHeldError,
)
from miniclaw.formats import NEVER, one_line
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.retention.policy import RetentionPolicy
from miniclaw.workspace.workspace import Workspace

if TYPE_CHECKING:
    from miniclaw.admin.client.client import GatewayClient
    from miniclaw.admin.client.remote import RemoteOperations
    from miniclaw.admin.monitoring.live_status import LiveStatus
    from miniclaw.config import LogLevel
    from miniclaw.session.operations.operations import SessionOperations
    from miniclaw.session.ownership.holder import Holder

    Operations: TypeAlias = SessionOperations | RemoteOperations

P = ParamSpec("P")
T = TypeVar("T")

_OPTIONS: Final = frozenset({"web.host", "web.port"})
"""Keys that options of `miniclaw gateway` override: the gateway's values may differ from its file."""


class InForce(Struct, frozen=True):
    """The configuration in force.

    Attributes:
        of: The source of `config`: the gateway if one runs, else the file.
        notes: Warnings about the file, in sentences.
    """

    config: Config
    of: Literal["gateway", "file"] = "file"
    notes: tuple[str, ...] = ()

    def warn(self) -> None:
        """Print the notes."""
        for note in self.notes:
            warn(note)


def warn(text: str) -> None:
    """Print a warning on standard error."""
    click.echo(one_line(f"miniclaw: warning: {text}"), err=True)


class CommandWorkspace(Workspace):
    """The workspace of one command, judged by the rules in force, with the progress of a scan on a terminal.

    Attributes:
        settings: The settings of the command.
        log_place: The place of the log of an operation, for a sentence.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.home, lambda: self.in_force.config, scanning=scan_progress)
        self.settings = settings
        self._socket = settings.home.workspace / SOCKET_NAME
        self._told_silent = False  # a warning has named the owner that does not answer
        self.log_place: str = "the log above"

    def log_to_terminal(self) -> None:
        """Print the log on the terminal: warnings and errors, unless the configuration has another level than ``info``.

        Raises:
            ConfigError: The file is invalid, and no gateway returns its configuration.
        """
        try:
            config = self.settings.config
        except ConfigError:
            config = self.config
        level = config.log.level
        least: LogLevel = "warning" if level == "info" else level

        def set_up() -> None:
            from miniclaw.daemon.logging import configure_logging  # noqa: PLC0415 - most commands log nothing

            configure_logging(least, "console")

        logs.set_up_when_needed(logs.LEVELS[least], set_up)

    # Reading --------------------------------------------------------------------------------------------------

    @cached_property
    def client(self) -> GatewayClient | None:
        """The client of the gateway; None if there is no socket. Only a call shows if a gateway answers there."""
        if not os.path.lexists(self._socket):
            return None
        from miniclaw.admin.client.client import GatewayClient  # noqa: PLC0415 - start-up time: it needs sockets and HTTP

        return GatewayClient(self.home.workspace)

    def ask_to_save(self) -> None:
        """Have a running gateway save its dirty sessions, so that a read includes them; a failure is a warning."""
        saved = self._ask(lambda client: client.save(), "what is shown may be older than what it has in memory")
        if saved is not None and saved.failed:
            why = "its log says why; they are shown as saved"
            warn(f"the gateway could not save {saved.failed:,} of its sessions, {why}")

    def ask_how_it_is(self) -> LiveStatus | None:
        """Return the live status of the gateway; None if none runs, or after a warning if it does not answer."""
        return self._ask(lambda client: client.gateway(), "its live status is not shown")

    def ask_for_config(self) -> dict[str, dict[str, Any]] | None:
        """Return the gateway's configuration in the form of its file; None if none runs, or after a warning."""
        return self._ask(lambda client: client.config(), "the rules shown are those of the file")

    @cached_property
    def in_force(self) -> InForce:
        """The configuration in force.

        Raises:
            ConfigError: The file is invalid, and no gateway returns its configuration.
        """
        theirs = self.ask_for_config()
        settings = self.settings
        if theirs is None:
            return InForce(settings.config)
        try:
            config = config_of_tables(theirs)
        except ConfigError as error:
            warn(f"the gateway that runs has another version of miniclaw, and its rules are not understood: {error}")
            return InForce(settings.config)
        try:
            ours = show_config(settings.config)
        except ConfigError as error:
            broken = "; ".join(str(error).splitlines())
            note = f"{broken}. The gateway uses the configuration that it read before, and so does this output."
            return InForce(config, "gateway", (note,))
        keys = [key for key, _, _ in differences(ours, show_config(config)) if key not in _OPTIONS]
        if not keys:
            return InForce(config, "gateway")
        from miniclaw.config.in_force import needs_restart  # noqa: PLC0415 - start-up time: they seldom differ

        differs = f"{settings.config_path} differs from the gateway's configuration: {', '.join(keys)}"
        way = "a restart" if any(map(needs_restart, keys)) else "SIGHUP, or a restart,"
        note = f"{differs}. This output uses the gateway's; {way} puts the file in force."
        return InForce(config, "gateway", (note,))

    def _ask(self, call: Callable[[GatewayClient], T], otherwise: str) -> T | None:
        """Return the answer of the gateway; None if none runs, or after a warning about the consequence."""
        if self.client is None:
            if (holder := self.find_unreachable()) is not None:
                no_socket = f"which takes no commands at {self._socket}; what it has in memory was not seen"
                self._warn_once(f"{self.home.sessions_dir} is held by {holder.who}, {no_socket}")
            return None
        try:
            return call(self.client)
        except NoGatewayError:
            return None
        except GatewayStalledError as error:
            consequence = f"What it has in memory was not seen, and the rules are those of {self.settings.config_path}."
            self._warn_once(f"{error} {consequence}")
        except GatewayBusyError as error:
            warn(f"{error}, and goes on; {otherwise}")
        except MiniclawError as error:
            warn(f"{error}; {otherwise}")
        return None

    def find_unreachable(self) -> Holder | None:
        """Return the owner of the workspace; None if it is stopping. Called if no gateway answers at the socket."""
        try:
            holder = self.holder
        except StoreError:
            return None  # the read itself reports the error
        return None if holder is None or holder.stopping else holder

    def _warn_once(self, text: str) -> None:
        if not self._told_silent:
            self._told_silent = True
            warn(text)

    # Changing -------------------------------------------------------------------------------------------------

    def refuse_if_held(self, *, by_rules: bool = False) -> None:
        """Refuse a call that `operate` would refuse, before the workspace is read or a person is asked.

        Raises:
            WorkspaceHeldError, DifferentRulesError: As `operate`.
            MiniclawError: The workspace cannot be read, or the gateway's answer is invalid.
        """
        self._find_gateway(by_rules=by_rules)

    def operate(self, work: Callable[[Operations], Awaitable[T]], *, by_rules: bool = False) -> T:
        """Call `work` with the operations of the running gateway, or as owner of the workspace, and return its result.

        A missing sessions directory is created; a command without work therefore does not call this.

        Args:
            work: Uses the operations.
            by_rules: If true, the work depends on the rules of retention, so that those of a gateway must not differ.

        Raises:
            WorkspaceHeldError: The owner of the workspace takes no commands; nothing was done.
            DifferentRulesError: The running gateway has other rules; nothing was done.
            MiniclawError: An error of `work`, or the gateway's answer is invalid.
        """
        self.log_to_terminal()
        if self.directory is None:  # the trash may exist nevertheless
            SessionDirectory.open(self.home.sessions_dir, create=True).close()
        client = self._find_gateway(by_rules=by_rules)
        if client is None:
            try:
                return self._own(work)
            except WorkspaceHeldError:
                self._forget_owner()
                client = self._find_gateway(by_rules=by_rules)  # a gateway that has just started
                if client is None:
                    raise
        self.log_place = "the gateway's log"
        return _ask_gateway(client, work)

    def _find_gateway(self, *, by_rules: bool) -> GatewayClient | None:
        """Return the client of the gateway that owns the workspace, and answers.

        None: the workspace has no owner, or one that is stopping or is a command, which is waited for.
        """
        was_known, holder = "holder" in vars(self), self.holder
        if holder is None:
            return None
        client, config = self.client, None
        if client is not None:
            try:
                config = client.config()  # raises if the gateway does not answer
            except NoGatewayError:
                client = None
        if client is None or config is None:
            if was_known:  # the owner that was probed may have exited meanwhile
                self._forget_owner()
                return self._find_gateway(by_rules=by_rules)
            if holder.stopping or holder.pid is None:  # without a pid, the attempt to own the workspace finds the owner
                return None
            raise WorkspaceHeldError(self.home.sessions_dir, holder.who, socket=self._socket)
        if by_rules:
            self._refuse_other_rules(config)
        return client

    def _forget_owner(self) -> None:
        """Have directory, owner and socket looked for again: each may be another one by now."""
        for name in ("directory", "holder", "client"):
            vars(self).pop(name, None)

    def _refuse_other_rules(self, theirs: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuse a removal by a gateway whose rules of retention differ from the command's configuration."""
        for key, mine, other in differences(show_config(self.settings.config), theirs):
            table, _, name = key.rpartition(".")
            if table == "session.ttl_by_channel" or (table == "session" and name in RetentionPolicy.__struct_fields__):
                shown = (NEVER if value is None else value for value in (mine, other))
                raise DifferentRulesError(self.settings.config_path, key, *map(as_toml, shown))

    def _own(self, work: Callable[[Operations], Awaitable[T]]) -> T:
        import trio  # noqa: PLC0415 - start-up time

        from miniclaw.session.operations.operations import open_operations  # noqa: PLC0415 - likewise

        home, policy = self.home, self.settings.config.session.retention_policy()

        async def run() -> T:
            owned = open_operations(home.sessions_dir, policy=policy, by="command", earlier=home.earlier)
            async with owned as operations:
                return await work(operations)

        return trio.run(run)


def _ask_gateway(client: GatewayClient, work: Callable[[Operations], Awaitable[T]]) -> T:
    import trio  # noqa: PLC0415 - start-up time

    from miniclaw.admin.client.remote import RemoteOperations  # noqa: PLC0415 - likewise

    async def run() -> T:
        return await work(RemoteOperations(client))

    return trio.run(run)


def pass_workspace(command: Callable[Concatenate[CommandWorkspace, P], T]) -> Callable[P, T]:
    """Pass the workspace to a command, as its first argument; it is closed when the command has ended."""

    @wraps(command)
    def call(*args: P.args, **options: P.kwargs) -> T:
        context = click.get_current_context()
        return command(context.with_resource(CommandWorkspace(context.obj)), *args, **options)

    return call
