"""``python -m miniclaw``, and the ``miniclaw`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["--version"]:  # for this nothing has to be loaded
        from miniclaw.version import VERSION  # noqa: PLC0415 - as all here

        sys.stdout.write(f"miniclaw {VERSION}\n")
        return
    import signal  # noqa: PLC0415

    # Ctrl-C while modules are being imported ends the program, without a traceback from the middle of an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from miniclaw.cli import main as run  # noqa: PLC0415 - that is the point

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
