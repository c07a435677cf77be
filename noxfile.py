"""The project's chores. `nox` alone runs the tests; `nox --list` shows the rest.

Each session installs the versions that constraints.txt says, so that a new release of a package breaks nothing here;
`minimums` and `latest` do not, and `lock` renews the file.
"""

from __future__ import annotations

import shutil
import subprocess

import nox
from nox.project import dependency_groups, load_toml

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = True

# What flake8-async finds and ruff does not; its stricter, optional rules (a checkpoint on every path) are not for us.
ASYNC_RULES = "ASYNC101,ASYNC102,ASYNC103,ASYNC104,ASYNC118,ASYNC119,ASYNC120,ASYNC210,ASYNC220,ASYNC221"
PATHS = ("miniclaw", "tests", "benchmarks", "examples", "noxfile.py")

CONSTRAINTS = "constraints.txt"
LOWEST_PYTHON = "3.11"
PROJECT = load_toml("pyproject.toml")


def install(session: nox.Session, *extras: str, groups: tuple[str, ...] = ()) -> None:
    """Install the package and what some chores need, in the locked versions.

    Args:
        session: The session.
        extras: Of the package.
        groups: Dependency groups of pyproject.toml.
    """
    package = f".[{','.join(extras)}]" if extras else "."
    # The build of the package has an environment of its own, which only this variable reaches.
    environment = {"UV_BUILD_CONSTRAINT": CONSTRAINTS}
    session.install(
        "--constraint", CONSTRAINTS, "--editable", package, *dependency_groups(PROJECT, *groups), env=environment
    )


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests in parallel; arguments go to pytest."""
    install(session, "test")
    session.run("pytest", *(session.posargs or ["--numprocesses=auto", "--dist=worksteal"]))


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests with coverage by branch, also of the programs that they start; it takes more than twice as long."""
    install(session, "test")
    session.run("pytest", "--numprocesses=auto", "--dist=worksteal", "--cov", "--cov-report=term", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install("--constraint", CONSTRAINTS, *dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", *PATHS)
    session.run("ruff", "format", "--check", *PATHS)
    # ASYNC103 (Cancelled swallowed) takes synchronous code of threads and forked children for async code.
    session.run("flake8", f"--select={ASYNC_RULES}", "--per-file-ignores=tests/*:ASYNC103", *PATHS)


@nox.session
def typing(session: nox.Session) -> None:
    """Check types, strictly, and the public names and types as mypy and pyright see them in another program."""
    install(session, "test", groups=("typing",))
    session.run("mypy")
    session.run("python", "-m", "tests.typing")


@nox.session(venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml admits."""
    session.install("--resolution=lowest-direct", "-e", ".[test]")
    session.run("pytest", *(session.posargs or ["--numprocesses=auto", "--dist=worksteal"]))


@nox.session(venv_backend="uv")
def latest(session: nox.Session) -> None:
    """Run the tests with the newest versions that pyproject.toml admits."""
    session.install("--upgrade", "-e", ".[test]")
    session.run("pytest", *(session.posargs or ["--numprocesses=auto", "--dist=worksteal"]))


@nox.session(venv_backend="uv")
def lock(session: nox.Session) -> None:
    """Write the newest versions, for each Python from 3.11 on, into constraints.txt."""
    groups = [f"--group={name}" for name in PROJECT["dependency-groups"]]
    session.run(
        "uv", "pip", "compile", "--quiet", "--universal", f"--python-version={LOWEST_PYTHON}", "--upgrade",
        # Neither comments nor addresses: the file is the same wherever it is made.
        "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links",
        "--all-extras", *groups, "--output-file", CONSTRAINTS, "pyproject.toml", *session.posargs,
        external=True,
    )  # fmt: skip


@nox.session
def soak(session: nox.Session) -> None:
    """Run the fault tests ten times as long (MINICLAW_SOAK sets the factor), kill -9 under load, and all at once.

    A disk under a gateway is filled to the last block, and another one hangs; needs root and loop devices, and says so.

    The notice rule is tried on a thousand machines with wrong clocks of each kind, and session files of any shape are
    put in a chat's place.

    MINICLAW_SOAK_MINUTES says how long the last of these takes; 5 if it is not set.
    """
    install(session, "test")
    factor = session.env.get("MINICLAW_SOAK", "10")
    paths = ["tests/faults", "tests/notice"]
    session.run(
        "pytest", "--numprocesses=auto", "--dist=worksteal", *paths, *session.posargs, env={"MINICLAW_SOAK": factor}
    )
    session.run("python", "-m", "tests.soak.kill_load", "--cycles", "1000")
    session.run("python", "-m", "tests.soak.bad_disk", "--rounds", "20")
    session.run("python", "-m", "tests.soak.session_files", "--minutes", "10")
    minutes = session.env.get("MINICLAW_SOAK_MINUTES") or "5"
    session.run("python", "-m", "tests.soak.gateway", "--minutes", minutes)


@nox.session
def powercut(session: nox.Session) -> None:
    """Cut the power of ext4 and xfs images under a writer; needs root and loop devices, and says so where it can't."""
    install(session, "test")
    session.run("python", "-m", "tests.powercut", *(session.posargs or ["--cuts", "500"]))


@nox.session
def crashimages(session: nox.Session) -> None:
    """Start up on what crashes could have left on a logged disk; needs root and /dev/fuse, and says so."""
    if not shutil.which("pkg-config") or subprocess.run(["pkg-config", "--exists", "fuse3"], check=False).returncode:
        session.skip("pyfuse3 is built from source: apt-get install libfuse3-dev fuse3 pkg-config gcc python3-dev")
    install(session, "test", groups=("crashimages",))
    session.run("python", "-m", "tests.crashimages", *(session.posargs or ["--images", "5000"]))


@nox.session
def planted(session: nox.Session) -> None:
    """Plant bugs in a copy of the package, one at a time, and show which test catches each."""
    install(session, "test")
    session.run("python", "-m", "tests.planted", *session.posargs)


@nox.session
def transcript(session: nox.Session) -> None:
    """Run an administrator's day and conversations; write docs/administrators-day.md and docs/conversations.md."""
    install(session, "test")
    session.run("python", "-m", "tests.transcript")


@nox.session
def screenshots(session: nox.Session) -> None:
    """Have a conversation on the chat page in a browser, and write its picture, docs/images/chat.png."""
    install(session, "test")
    session.run("python", "-m", "tests.browser")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against peers: `-- full`, `-- compare BASE` (a change); `-- gateway` for chat, start and memory."""
    install(session, "gateway")
    if session.posargs[:1] == ["gateway"]:
        for name in ("chat_load", "gateway_start", "gateway_memory"):
            session.run("python", "-m", f"benchmarks.{name}", *session.posargs[1:])
    else:
        session.run("python", "-m", "benchmarks", *(session.posargs or ["short"]))
