"""The lines of the timeline."""

from datetime import UTC, datetime

import pytest

from schemas.events.outside import FLAGS, ExternalEvent
from services.reporting.domain.timeline import line

AT = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("flags", "remark"),
    [
        ((), ""),
        (("time-replaced",), "; its time was impossible; it counts as received"),
        (("unknown-flag",), ""),
    ],
)
def test_line_of_an_event_states_how_it_was_changed_on_arrival(flags: tuple[str, ...], remark: str) -> None:
    event = ExternalEvent(source="website", source_id="1", received_at=AT, fields={"form": "demo"}, flags=flags)
    assert line("form.submitted", event) == f"form.submitted demo (from website){remark}"


def test_every_flag_has_a_text_in_the_timeline() -> None:
    for flag, text in FLAGS.items():
        assert text in line("x", ExternalEvent(source="s", source_id="1", received_at=AT, flags=(flag,)))
