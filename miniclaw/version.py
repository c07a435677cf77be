"""The version, in a module of its own that the build and ``miniclaw --version`` can read alone."""

VERSION = "0.1.0"
