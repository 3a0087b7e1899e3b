"""Events in the short form, parsed for tests."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.gateway.domain.coerce import UnmappableError
from services.gateway.domain.mapping import ParsedEvent, parse_event

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)


def event_of(data: dict[str, Any], type: str = "form.submitted", **top: Any) -> ParsedEvent:
    """Parse an event with this data and these other members."""
    return parse_event(
        {"id": "1", "type": type, "email": "ann@acme.example", "data": data, **top}, origin="k", scope="k\n", now=NOW
    )


def error_of(**sent: Any) -> UnmappableError:
    """Return the error for an event with these members."""
    with pytest.raises(UnmappableError) as caught:
        parse_event({"id": "1", "type": "page.viewed", **sent}, origin="k", scope="k\n", now=NOW)
    return caught.value
