"""Tools for the tests of programs that embed miniclaw, and of stores that others write."""

from miniclaw.stores.memory import MemoryStore as MemoryStore
from miniclaw.testing.clock import FakeClock as FakeClock
from miniclaw.testing.clock import autojump as autojump
from miniclaw.testing.clock import pass_days as pass_days
from miniclaw.testing.clock import settle as settle
from miniclaw.testing.conformance import CheckResult as CheckResult
from miniclaw.testing.conformance import StoreCheckError as StoreCheckError
from miniclaw.testing.conformance import StoreReport as StoreReport
from miniclaw.testing.conformance import check_store as check_store
from miniclaw.testing.conformance import store_checks as store_checks
from miniclaw.testing.fake_files import FakeFileCalls as FakeFileCalls
from miniclaw.testing.gateway import FakeChannel as FakeChannel
from miniclaw.testing.gateway import FakeModel as FakeModel
