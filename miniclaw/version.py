"""The version, read by the build and by who only wants to know it."""

VERSION = "0.1.0"
