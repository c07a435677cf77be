"""Texts that break programs: hand-chosen, in the spirit of the Big List of Naughty Strings."""

# ruff: noqa: RUF001 - ambiguous characters are what this is about

from __future__ import annotations

from typing import Final

NAUGHTY: Final[tuple[str, ...]] = (
    # Words that mean something to somebody
    "undefined", "undef", "null", "NULL", "(null)", "nil", "NIL", "true", "false", "None", "hasOwnProperty",
    "constructor", "__proto__", "__init__", "\\", "\\\\", "0", "1", "-1", "1.00", "$1.00", "1/2", "1E2", "1E+02", "-1/0",
    "NaN", "Infinity", "-Infinity", "INF", "1#INF", "0x0", "0xffffffff", "999999999999999999999999", "1_000", "01000",
    "2026-11-23T00:00:00Z", "0000-00-00",
    # Punctuation, blanks and control characters
    ",./;'[]-=", "<>?:\"{}|_+", "!@#$%^&*()`~", " ", "  ", " x", "x ", "\t", "\n", "\r\n", "a\nb", "\x00", "a\x00b", "\x01",
    "\x07\x08", "\x1b[31mred\x1b[0m", "\x7f", "\x80\x85\x9f", "\u00a0", "\u00ad", "\u200b", "\u2028\u2029", "\ufeff", "\ufffe",
    "\u202etxt.exe", "\u2066a\u2069",
    # Scripts, combinations, widths, cases
    "Ω≈ç√∫˜µ≤≥÷", "åß∂ƒ©˙∆˚¬…æ", "ÅÍÎÏ˝ÓÔÒÚÆ☃", "田中さんにあげて下さい", "社會科學院", "사회과학원", "ثم نفس سقطت", "בְּרֵאשִׁית",
    "Ṱ̺̺̕o͞ ̷i̲̬n̝̗v̟̜̘", "ﷺ", "é", "e\u0301", "ſ", "ı", "İ", "ß", "ẞ", "ǆ", "Ⱥ", "Ⱦ", "Ｔｈｅ", "ｗeb", "👩‍👩‍👧‍👦", "🏳️‍🌈", "1️⃣2️⃣", "🦀" * 60,
    "\U0010ffff", "\U000e0001",
    # Paths and names of files
    ".", "..", "...", "/", "//", "/dev/null", "/etc/passwd", "../../etc/passwd", "..\\..\\windows", "C:\\con", "con",
    "nul.json", "~", "~root", "%2e%2e%2f", "%00", "%", "%zz", "a%2Fb", ".lock", ".work", ".quarantine",
    ".state", "tmp-0123456789abcdef", "rm-0123456789abcdef", "x.json", ".json", "-", "--help", "-rf", "*", "?", "a" * 251,
    "a" * 300, "é" * 200, "x" * 5000,
    # Texts that other programs carry out
    "<script>alert(1)</script>", "' OR 1=1 --", "1;DROP TABLE users", "$(touch /tmp/owned)", "`id`", "${HOME}", "%s%s%n%d",
    "{0.__class__}", "{{7*7}}", "%(x)s", "\"messages\"", "\",\"last_accessed\":\"1970-01-01T00:00:00Z\"", "}]}", "\\u0000",
    # Capitals against each other
    "Case", "case", "CASE", "cASE",
)  # fmt: skip
