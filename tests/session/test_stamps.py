"""The stamp in a name tells since when a file lies there, and nothing else is taken for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniclaw.session.names import split_stamped, stamped


@given(
    st.text(min_size=1).filter(lambda text: "\0" not in text),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))])).filter(
        lambda time: 2 < time.year < 9998
    ),
)
def test_stamped_name_is_split_again(stem: str, now: datetime) -> None:
    """Whatever the stem is, it comes back with the time, to the second."""
    assert split_stamped(stamped(stem, now)) == (stem, now.astimezone(UTC).replace(microsecond=0))


def test_stamped_names_of_one_moment_differ() -> None:
    """Two files that come at once have two names."""
    assert stamped("a", datetime.now(UTC)) != stamped("a", datetime.now(UTC))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "telegram_1.json",
        ".20261123T120000Z-0a1b2c3d",
        "x.20261123T120000Z-0A1B2C3D",
        "x.20261123T120000Z-0a1b2c3",
        "x.20261123T120000Z-0a1b2c3d.old",
        "x.20261123T120000-0a1b2c3d",
        "x.20261399T120000Z-0a1b2c3d",
        "x.\u0662\u0660\u0662\u06661123T120000Z-0a1b2c3d",
        "x.00000101T000000Z-0a1b2c3d",
        "x.20261123T120000Z-0a1b2c3d\n",
    ],
)
def test_split_of_another_name_is_none(name: str) -> None:
    """What only resembles a stamp, or tells a time that is none, is not ours."""
    assert split_stamped(name) is None
