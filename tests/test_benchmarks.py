"""The benchmark's own parts: what it makes of samples, its files, its report. Nothing here looks at how long it took."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import compare, memory, ours
from benchmarks.__main__ import parse
from benchmarks.bench import Bench, Form
from benchmarks.children.loop_lag import percentile
from benchmarks.data import EXPIRED, generate
from benchmarks.figure import Curve, Figure, Kind, Plot, Skipped, Spread, UnavailableError, interleave
from benchmarks.figures import registry
from benchmarks.peers import c_scan, walks
from benchmarks.peers.databases import RedisClient, encode_command, sqlite_seconds
from benchmarks.plot import spaced, svg, tick_label
from benchmarks.report import line, report, write_page
from miniclaw.session.files.directory import SessionDirectory
from miniclaw.session.format import codec
from miniclaw.workspace.plan import scan_sync
from tests.fakes.moments import at_once

TINY = Form(
    usual=20, large=2, many=4, expired=5, flushed=3, listed=2, counts=(1, 2), sizes=(2_000, 4_000), rounds=1
)  # fmt: skip
MARKERS = "<!-- benchmark: begin (written by `nox -s bench -- full --write`) -->\nold\n<!-- benchmark: end -->"
PLOT = Plot("a-plot", "A scan & more", "sessions", "ms", (Curve("ours", ((100, 0.5), (1000, 40))),))


def figure(
    kind: Kind = "ratio",
    goal: float | None = 2,
    *,
    ours: tuple[float, ...] = (3, 8, 5),
    theirs: tuple[float, ...] = (2, 2, 5),
) -> Figure:
    return Figure(name="f", title="a figure", peer="a peer", unit="ms", ours=ours, theirs=theirs, kind=kind, goal=goal)


@pytest.mark.parametrize(
    ("kind", "spread"),
    [("ratio", Spread(1.5, 1, 4)), ("difference", Spread(1, 0, 6)), ("value", Spread(5, 3, 8))],
)
def test_figure_with_rounds_compares_within_each_round(kind: Kind, spread: Spread) -> None:
    """What is held against the goal is made of samples of the same round."""
    assert figure(kind).spread() == spread


@pytest.mark.parametrize(
    ("kind", "goal", "verdict"),
    [
        ("ratio", 1.5, "met"), ("ratio", 1.4, "MISSED"), ("difference", 6, "met"), ("difference", 5, "MISSED"),
        ("value", 8, "met"), ("value", 7, "MISSED"), ("ratio", None, ""),
    ],
)  # fmt: skip
def test_figure_verdict_goes_by_the_median_of_ratios_and_the_highest_of_others(
    kind: Kind, goal: float | None, verdict: str
) -> None:
    """A bound for a machine holds in every round, a comparison in the middle one."""
    assert figure(kind, goal).verdict() == verdict


def test_interleave_gives_everyone_a_turn_in_each_round_and_nobody_the_first_always() -> None:
    """All take one sample a round, in an order that rotates, and get their own back."""
    turns: list[str] = []

    def sampler(name: str) -> float:
        turns.append(name)
        return len(turns)

    first, second = interleave(3, lambda: sampler("a"), lambda: sampler("b"))
    assert turns == ["a", "b", "b", "a", "a", "b"]
    assert (first, second) == ((1, 4, 5), (2, 3, 6))


def test_generate_from_the_same_seed_makes_the_same_sound_sessions(tmp_path: Path) -> None:
    """Names and texts follow from the seed, all load, and nothing is expired."""
    one, two = (generate(tmp_path / name, 30, 5_000, seed=7) for name in ("one", "two"))
    assert sorted(os.listdir(one.directory)) == sorted(os.listdir(two.directory))
    assert one.total_bytes == two.total_bytes
    assert 4_000 < one.total_bytes / one.count < 6_000
    for path in one.directory.iterdir():
        session = codec.decode_session(path.read_bytes())
        assert session.messages == codec.decode_session((two.directory / path.name).read_bytes()).messages != []
    assert ours.scan(one.directory) == ours.read_rows(one.directory) == 30
    assert walks.stat_only(one.directory) == walks.whole_json(one.directory) == 0


def test_generate_expired_beside_others_expires_all_of_them_for_everyone(tmp_path: Path) -> None:
    """A later batch collides with no earlier one; ours and the peers find the same sessions expired."""
    sessions = tmp_path / "sessions"
    generate(sessions, 20, 2_000, seed=7)
    generate(sessions, 10, 2_000, seed=7, ages=EXPIRED, first=20)
    with SessionDirectory.open(sessions) as directory:
        plan = scan_sync(directory, ours.POLICY, at_once(datetime.now(UTC)))
    assert (plan.sessions_scanned, len(plan.removals)) == (30, 10)
    counts = {count(sessions) for count in (walks.stat_only, walks.one_field, walks.whole_session, walks.whole_json)}
    assert counts == {10}


def test_sqlite_peer_removes_all_that_is_expired(tmp_path: Path) -> None:
    """It raises where rows are left, so that what is measured was done."""
    sessions = tmp_path / "sessions"
    generate(sessions, 5, 2_000, seed=7, ages=EXPIRED)
    sqlite_seconds(sessions, tmp_path)
    (tmp_path / "other").mkdir()
    generate(sessions, 1, 2_000, seed=7, first=5)
    with pytest.raises(RuntimeError, match="1 rows are left"):
        sqlite_seconds(sessions, tmp_path / "other")


def test_redis_client_with_replies_returns_them_and_raises_errors() -> None:
    """Commands go out as arrays of bulk strings; an error is never taken for an answer."""
    assert encode_command((b"EXPIRE", b"a b", b"0")) == b"*3\r\n$6\r\nEXPIRE\r\n$3\r\na b\r\n$1\r\n0\r\n"

    class Stream(BytesIO):
        def write(self, _data: object) -> int:
            return 0

    client = RedisClient(Stream(b":1\r\n+OK\r\n-ERR no\r\n"))  # type: ignore[arg-type]
    assert client.run_all([(b"EXPIRE",), (b"SET",)]) == [b":1", b"+OK"]
    with pytest.raises(RuntimeError, match="ERR no"):
        client.run_all([(b"SET",)])


def test_c_loop_without_a_compiler_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine lacks is a reason, not an error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="no C compiler"):
        c_scan.CScan(tmp_path)
    assert c_scan.parse("1500 20\n") == (1500, 20)


def test_memory_of_this_process_can_be_read() -> None:
    """The readers of /proc understand what this system says."""
    assert memory.parse_kilobytes("Head\nVmRSS:\t  12 kB\nThreads:\t3\n") == {"VmRSS": 12}
    assert memory.processor_ticks(os.getpid()) > 0
    assert memory.memory_of(os.getpid()).rss > 1_000_000


def test_percentile_is_the_smallest_sample_that_enough_do_not_exceed() -> None:
    """Of a hundred samples the 99th decides."""
    assert percentile([float(number) for number in range(100, 0, -1)], 99) == 99
    assert percentile([3.0], 99) == 3


def test_measure_with_whatever_goes_wrong_returns_it_as_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One figure that cannot be had does not take the others along, and a failure is told from a lack."""
    monkeypatch.setattr(registry, "FIGURES", {"gone": ("no_such_module", "f"), "cold": ("cold", "ledger_absent")})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    bench = Bench(tmp_path, TINY, seed=1)
    (gone,), (cold,) = (registry.measure(name, bench) for name in ("gone", "cold"))
    assert isinstance(gone, Skipped)
    assert gone.failed
    assert cold == Skipped("cold", "cold", "to mount a cold disk takes root")


@pytest.mark.parametrize("name", ["warm-current", "dry-run", "removal", "flush", "file-size", "session-memory"])
def test_measure_of_a_tiny_form_finds_figures(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure does its work from its files to its samples."""
    monkeypatch.setattr("benchmarks.data._SETTLE_SECONDS", 0)
    monkeypatch.setattr("miniclaw.session.files.scan.RACY_SECONDS", -1)  # the ledger takes files as young as these
    monkeypatch.setattr(os, "sync", lambda: None)  # it waits for whatever else is being written on this machine
    monkeypatch.setattr("benchmarks.figures.warm.LARGE_BYTES", 8_000)
    monkeypatch.setattr("benchmarks.figures.session_memory._BYTES", 1_000_000)
    found = registry.measure(name, Bench(tmp_path, TINY, seed=1))
    assert found
    for each in found:
        assert isinstance(each, Figure), each
        assert each.name == name
        assert len(each.ours) == len(each.theirs) == 1


def test_report_of_findings_has_a_row_or_a_line_for_each() -> None:
    """Figures with goals, those without, what was skipped, and the points of each plot stand in the report."""
    skipped = Skipped("s", "something", "no reason", failed=True)
    text = report({"python": "3"}, [figure(), figure(goal=None), figure("difference", 6), skipped, PLOT])
    assert "| a figure | 5.00 ms | 2.00 ms: a peer | 1.50 (1.00 to 4.00) | 2 | met |" in text
    assert "| a figure | 5.00 ms | 2.00 ms: a peer | +1.00 ms (0.000 to +6.00) | +6 ms | met |" in text
    assert "- FAILED: something: no reason" in text
    assert "![A scan & more: ms over sessions](images/a-plot.svg)" in text
    assert "| ours | 0.500 | 40.0 |" in text
    assert line(skipped) == "FAILED: something: no reason"


def test_write_page_replaces_what_is_between_the_markers_and_draws_the_plots(tmp_path: Path) -> None:
    """The rest of the page stays, and a page without markers is not touched."""
    (tmp_path / "images").mkdir()
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{MARKERS}\nafter\n", encoding="utf-8")
    write_page("new", [PLOT], tmp_path)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "\n\nnew\n\n" in text
    assert "old" not in text
    assert (tmp_path / "images" / "a-plot.svg").exists()
    page.write_text("before", encoding="utf-8")
    with pytest.raises(RuntimeError, match="no lines"):
        write_page("new", [], tmp_path)


def test_svg_of_a_plot_is_well_formed_and_has_a_line_for_each_curve() -> None:
    """Titles are escaped, and larger values stand further up and to the right."""
    root = ElementTree.fromstring(svg(PLOT))  # noqa: S314 - our own
    lines = [element.get("points", "") for element in root.iter() if element.tag.endswith("polyline")]
    (first, last) = (tuple(map(float, point.split(","))) for point in lines[0].split())
    assert first[0] < last[0]
    assert first[1] > last[1]
    assert [tick_label(value) for value in (0.001, 1.0, 10_000.0)] == ["0.001", "1", "10,000"]


def test_spaced_labels_keep_their_order_and_their_distance() -> None:
    """Labels of lines that end at the same height do not cover each other."""
    moved = spaced([10, 10, 100, 12], 15)
    ordered = sorted(moved)
    assert [moved.index(place) for place in ordered] == [0, 1, 3, 2]
    assert all(after - before >= 15 for before, after in pairwise(ordered))


@pytest.mark.parametrize("arguments", [["--write"], ["short", "--write"], ["full", "--write", "--only", "flush"]])
def test_parse_write_of_less_than_everything_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The page never shows a part of the figures, or those of the short form."""
    with pytest.raises(SystemExit):
        parse(arguments)
    assert "--write is for the full form" in capsys.readouterr().err


def test_parse_without_a_command_means_the_short_form() -> None:
    """Options alone are those of the short form; compare has its own."""
    assert parse([]).command == "short"
    assert parse(["--only", "flush", "append"]).only == ["flush", "append"]
    compared = parse(["compare", "HEAD~3", "--only", "flush"])
    assert (compared.command, compared.base, compared.form, compared.only) == ("compare", "HEAD~3", "short", ["flush"])


def test_compare_table_leaves_out_what_only_one_revision_has() -> None:
    """Only what both have measured in the same rounds is compared."""
    samples = {
        ("both", "ms"): {"new": [1.0, 4.0, 3.0], "base": [2.0, 2.0, 3.0]},
        ("only now", "ms"): {"new": [1.0]},
    }
    text = compare.table(samples, "v1")
    assert "| both | 2.00 ms | 3.00 ms | 1.00 (0.500 to 2.00) |" in text
    assert "only now" not in text
