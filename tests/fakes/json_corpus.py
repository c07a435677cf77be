"""JSON values that are valid, invalid, or that a decoder may take either way; hand-written after RFC 8259."""

from __future__ import annotations

from typing import Final

VALID: Final[tuple[bytes, ...]] = (
    b"null", b"true", b"false", b"0", b"-0", b"-0.0", b"1E3", b"1e-3", b"1.5e+3", b"123456789012345678", b'""', b'"a"',
    b"[]", b"{}", b"[[]]", b'{"":0}', b"[ ]", b"[\t1\n,\r2 ]", b'"\\u0000"', b'"\\uD83D\\uDE00"', b'"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    b'"\x7f"', "\"\u2028 \U0010ffff\"".encode(), b'{"messages":[]}', b'["messages"]', b'"\\"messages\\""',
    b'{"a":{"last_accessed":"9999-01-01T00:00:00Z"}}', b"[" * 50 + b"]" * 50,
)  # fmt: skip

INVALID: Final[tuple[bytes, ...]] = (
    b"", b"01", b"-01", b"1.", b".5", b"+1", b"-", b"--1", b"1e", b"1e+", b"2.e3", b"0x1", b"1 2", b"1_0", b"-NaN",
    b"nul", b"truE", b"True", b"None", b"'a'", b'"', b'"a', b'"\\x"', b'"\\u12"', b'"\\"',
    b'"\\ud83d\\u"', b"\\u0061", b"[", b"]", b"[1", b"[1,", b"[1,]", b"[,1]", b"[1,,2]", b"[1:2]",
    b"{", b'{"a"', b'{"a":', b'{"a":1,}', b'{"a"}', b'{"a" "b"}', b"{1:2}", b"{a:1}", b"{'a':1}", b'{"a":1]', b"[1}",
    b"/*c*/1", b"1//c", b"#1", b"\xef\xbb\xbf1", b"\x0c1", b"\xa01", b"\xff", b"a", b"@", b"[" * 10_000,
)  # fmt: skip

EITHER: Final[tuple[bytes, ...]] = (
    b"1e999", b"-1e999", b"1e-999", b"9" * 400, b'{"a":1,"a":2}', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\xc0\xaf"',
    b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b"[" * 400 + b"]" * 400, b"NaN", b"Infinity", b"-Infinity", b'"\n"', b'"\x00"', b'"\x1f"',
)  # fmt: skip
