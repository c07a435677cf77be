"""Stores of sessions: the protocol of a store, a store in memory, and one over files."""

from miniclaw.stores.memory import MemoryStore as MemoryStore
from miniclaw.stores.protocol import SessionStore as SessionStore
