"""A plugin of pytest: all tests run without what only Linux has, but for /proc, which tests use themselves."""

from tests.fakes.elsewhere import forget_linux

forget_linux(proc=True)
