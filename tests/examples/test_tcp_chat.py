"""examples/tcp_chat.py as a program: people in one room, who meet again after a restart."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.example import connection, example


def test_tcp_chat_shows_each_line_to_all_and_remembers(tmp_path: Path) -> None:
    """What one says all see, and who comes later sees it as well, also after a restart."""
    with example("tcp_chat.py", "0", directory=tmp_path) as port, connection(port) as anna:
        anna.write(b"anna\nHello\n")
        assert anna.readline() == b"anna: Hello\n"
        with connection(port) as bert:
            bert.write(b"bert\n")
            assert bert.readline() == b"anna: Hello\n"
            bert.write(b"Good mor")
            bert.write(b"ning\n")
            assert bert.readline() == anna.readline() == b"bert: Good morning\n"
        anna.write(b"Bye\n")
        assert anna.readline() == b"anna: Bye\n"
    with example("tcp_chat.py", "0", directory=tmp_path) as port, connection(port) as carl:
        carl.write(b"carl\n")
        assert [carl.readline() for _ in range(3)] == [b"anna: Hello\n", b"bert: Good morning\n", b"anna: Bye\n"]
