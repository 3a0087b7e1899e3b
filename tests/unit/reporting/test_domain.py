"""How the events of a lead read in its timeline."""

from datetime import UTC, datetime

import pytest

from schemas.events.outside import FLAGS, ExternalEvent
from services.reporting.domain import line

AT = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("flags", "remark"),
    [
        ((), ""),
        (("time-replaced",), "; its time was impossible; it counts as received"),
        (("unheard-of",), ""),
    ],
)
def test_the_timeline_says_how_an_event_was_changed_on_arrival(flags: tuple[str, ...], remark: str) -> None:
    event = ExternalEvent(source="website", source_id="1", received_at=AT, fields={"form": "demo"}, flags=flags)
    assert line("form.submitted", event) == f"form.submitted demo (from website){remark}"


def test_every_flag_has_its_words() -> None:
    for flag, words in FLAGS.items():
        assert words in line("x", ExternalEvent(source="s", source_id="1", received_at=AT, flags=(flag,)))
