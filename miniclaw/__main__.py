"""``python -m miniclaw``, and the ``miniclaw`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == ["--version"]:  # for this nothing has to be loaded
        from miniclaw.version import VERSION  # noqa: PLC0415 - as all here

        sys.stdout.write(f"miniclaw {VERSION}\n")
        return
    import gc  # noqa: PLC0415
    import signal  # noqa: PLC0415

    # Ctrl-C while modules are being imported ends the program, without a traceback from the middle of an import; unless
    # it is ignored, as in a background job of a shell.
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # of what is imported nothing is garbage, and to look for it takes a tenth of the time
    from miniclaw.cli import main as run  # noqa: PLC0415 - that is the point

    gc.enable()
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    finally:
        gc.freeze()  # nor is it when the interpreter looks for the last time: the system takes all of it back


if __name__ == "__main__":
    main()
