"""The ``miniclaw`` command, and ``python -m miniclaw``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["--version"]:  # needs no other module
        from miniclaw.version import VERSION  # noqa: PLC0415 - start-up time, as for all imports here

        sys.stdout.write(f"miniclaw {VERSION}\n")
        return
    if "gateway" in sys.argv[1:]:
        from miniclaw.daemon.early_signals import hold  # noqa: PLC0415

        hold()  # before the other imports, which take most of the start
    import gc  # noqa: PLC0415
    import signal  # noqa: PLC0415

    # Ctrl-C during imports ends the program without a traceback from the middle of an import, unless SIGINT is ignored,
    # as in a background job of a shell.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        gc.disable()  # imports produce no garbage, and a search for it takes a tenth of the time
        from miniclaw.cli import main as run  # noqa: PLC0415 - after the lines above

        gc.enable()
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except ImportError as error:  # the command is installed also where its extra is not
        from miniclaw.extras import GATEWAY_PACKAGES, missing_package  # noqa: PLC0415

        if (error.name or "").partition(".")[0] not in GATEWAY_PACKAGES:
            raise
        sys.exit(f"miniclaw: {missing_package('the command', 'gateway')}")
    finally:
        gc.freeze()  # spares the interpreter's last collection: the system takes back all memory


if __name__ == "__main__":
    main()
