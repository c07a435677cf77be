"""The configuration of a running gateway, and the keys of it that can be exchanged while it runs."""

from __future__ import annotations

from typing import Final

from miniclaw.config.tables import Config, differences, show_config

_EXCHANGEABLE: Final = frozenset({"session", "notify", "log"})
"""Tables that can be exchanged whole. The others configure sockets, channels and the model, which open at the start."""

_EXCHANGEABLE_KEYS: Final = frozenset({"web.allowed_hosts", "telegram.allowed_users"})
"""Keys of the other tables that can be exchanged."""


class ConfigInForce:
    """The configuration in force, shared by every part that has to follow a change of it.

    Attributes:
        config: Replaced whole, on the trio thread, by a reload.
    """

    def __init__(self, config: Config) -> None:
        self.config = config


def changed_keys(before: Config, after: Config) -> list[str]:
    """Return the keys in which two configurations differ."""
    return [key for key, _, _ in differences(show_config(before), show_config(after))]


def needs_restart(key: str) -> bool:
    """Return whether a change of a key, given with its table, takes effect only at the next start."""
    return key.partition(".")[0] not in _EXCHANGEABLE and key not in _EXCHANGEABLE_KEYS
