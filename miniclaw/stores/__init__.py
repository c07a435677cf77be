"""Stores of sessions: the protocol of a store with its types, and stores in memory and over files."""

from miniclaw.session.entries import Leftover as Leftover
from miniclaw.session.entries import QuarantinedFile as QuarantinedFile
from miniclaw.stores.files import FileStore as FileStore
from miniclaw.stores.memory import MemoryStore as MemoryStore
from miniclaw.stores.protocol import FileMaintenance as FileMaintenance
from miniclaw.stores.protocol import SessionStore as SessionStore
from miniclaw.stores.runtime import StoreRuntime as StoreRuntime
from miniclaw.stores.runtime import open_store_runtime as open_store_runtime
from miniclaw.stores.types import CLOCK_TOLERANCE as CLOCK_TOLERANCE
from miniclaw.stores.types import AuditLine as AuditLine
from miniclaw.stores.types import Candidate as Candidate
from miniclaw.stores.types import Change as Change
from miniclaw.stores.types import Header as Header
from miniclaw.stores.types import Lease as Lease
from miniclaw.stores.types import Outcome as Outcome
from miniclaw.stores.types import Restoration as Restoration
from miniclaw.stores.types import Saved as Saved
from miniclaw.stores.types import Stored as Stored
from miniclaw.stores.types import Totals as Totals
from miniclaw.stores.types import Trashed as Trashed
from miniclaw.stores.types import Turn as Turn
