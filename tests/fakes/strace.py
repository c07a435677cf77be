"""The real program under strace: with faults in its system calls, or with a list of what it did to files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.patience import PATIENCE_SECONDS
from tests.fakes.program import CALL, Program, Result
from tests.fakes.states import UP_FOR_LONG

TIMEOUT_SECONDS = PATIENCE_SECONDS

_CALL = re.compile(r"^\d+ +(\w+)\((.*)(?:\) += (-?)\d.*| <unfinished \.\.\.>)$")
_TEXT = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND|O_TMPFILE")

CHANGING_CALLS = (
    "open,openat,openat2,creat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,"
    "rmdir,mknod,mknodat,truncate,chmod,fchmodat,chown,lchown,fchownat,utimensat,mount,setxattr"
)


def why_no_strace() -> str | None:
    """Return why strace cannot be used here, or None."""
    if shutil.which("strace") is None:
        return "strace is missing: apt-get install strace"
    if subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        return "strace may not trace here (ptrace is not permitted)"
    return None


class Straced(Program):
    """Runs ``python -m miniclaw`` under strace.

    Attributes:
        log: What strace wrote of the last run.
    """

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._log_path = home.with_name(f"{home.name}.strace")
        self._log_path.touch()
        self.log = ""

    @property
    def injected(self) -> list[str]:
        """The calls of the last run that were made to fail."""
        return [line for line in self.log.splitlines() if "(INJECTED)" in line]

    def _command(self, *options: str, args: tuple[str, ...]) -> list[str]:
        strace = ["strace", "-f", "-y", "-qq", "-s", "4096", "-o", str(self._log_path), *options]
        # As a command it is the same; a gateway puts its first cleanup off where the machine was started just now.
        return [*strace, sys.executable, "-c", f"{UP_FOR_LONG}{CALL}", *args]

    def _environment(self, overrides: dict[str, str]) -> dict[str, str]:
        # A measured coverage would be a file outside of the home.
        environment = super()._environment({"PYTHONDONTWRITEBYTECODE": "1", **overrides})
        return {name: value for name, value in environment.items() if not name.startswith("COV")}

    def run_with(self, faults: tuple[str, ...], paths: tuple[str, ...], *args: str) -> Result:
        """Run to the end with these faults (``fsync:error=EIO``), where paths are given only on those."""
        names = ",".join(fault.partition(":")[0] for fault in faults)
        options = [f"-etrace={names}", *(f"-einject={fault}" for fault in faults), *(f"-P{path}" for path in paths)]
        return self._finish(self._command(*options, args=args))

    def run_limited(self, largest_file_bytes: int, *args: str) -> Result:
        """Run to the end, without strace, where no file can grow beyond this: a write is short, the next one fails."""
        limit = ["prlimit", f"--fsize={largest_file_bytes}"]
        return self._finish([*limit, sys.executable, "-m", "miniclaw", *args])

    def run_traced(self, *args: str) -> Result:
        """Run to the end, for `changed_paths`."""
        return self._finish(self._command(f"-etrace={CHANGING_CALLS}", args=args))

    def _finish(self, command: list[str]) -> Result:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, env=self._environment({}),
            timeout=TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
        self.log = self._log_path.read_text(errors="replace")
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    @contextmanager
    def gateway(self, faults: tuple[str, ...], paths: tuple[str, ...] = ()) -> Iterator[Gateway]:
        """Run the gateway with faults for a block, which reads its log; strace is killed if it still runs."""
        names = ",".join(fault.partition(":")[0] for fault in faults)
        options = [f"-etrace={names}", *(f"-einject={fault}" for fault in faults), *(f"-P{path}" for path in paths)]
        command = self._command(*options, args=("gateway", "--port", "0"))
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, env=self._environment({}), start_new_session=True
        ) as process:
            try:
                yield Gateway(process)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        self.log = self._log_path.read_text(errors="replace")

    def changed_paths(self) -> set[str]:
        """Return every path that the last run opened for writing, made, renamed, linked or removed."""
        found = set()
        for line in self.log.splitlines():
            call = _CALL.match(line)
            if call is None or call[3] == "-":  # one that another thread interrupts counts, however it ends
                continue
            if call[1].startswith("open") and not _WRITES.search(call[2]):
                continue
            for folder, name in _TEXT.findall(call[2]):
                found.add(os.path.normpath(os.path.join(folder, name)))
        return found


class Gateway:
    """A gateway under strace that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.err = ""

    def read_until(self, event: str) -> None:
        """Read its log until this event."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.err += line.decode()
            if event in line.decode():
                return
        raise AssertionError(f"the program ended without {event!r}: {self.err}")

    def terminate(self) -> int:
        """Have it end as by SIGTERM; return its exit code."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        os.kill(int(children.split()[0]), signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Read its log to the end; return its exit code."""
        assert self._process.stderr is not None
        self.err += self._process.stderr.read().decode()
        assert "Traceback" not in self.err, self.err
        return self._process.wait(TIMEOUT_SECONDS)
