"""The configuration: ``config.toml`` to frozen Structs, one module a table.

Every key has a default. An unknown, invalid or unreadable key is refused, and all problems are reported at once, each
with file, key, value and the right form. The program then does not start: it never falls back to a default that might
delete more than was meant. No value means "delete everything"; ``"never"`` or ``"off"`` switches a rule off.
"""

from miniclaw.config.file import load_config
from miniclaw.config.home import HOME_VARIABLE, Home, find_home
from miniclaw.config.log import LogConfig, LogFormat, LogLevel
from miniclaw.config.session import Mode, SessionConfig
from miniclaw.config.tables import Config, config_of_tables, differences, parse_config, show_config

__all__ = [
    "HOME_VARIABLE",
    "Config",
    "Home",
    "LogConfig",
    "LogFormat",
    "LogLevel",
    "Mode",
    "SessionConfig",
    "config_of_tables",
    "differences",
    "find_home",
    "load_config",
    "parse_config",
    "show_config",
]
