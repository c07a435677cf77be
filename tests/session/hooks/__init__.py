"""Tests of the hooks of a program that embeds the runtime."""
