"""The reason of a dead letter, which managers read: it names the kind and the line of a failure, and no content."""

from datetime import UTC, datetime

import msgspec
import pytest
import sqlalchemy as sa

from firsthour.runtime.eventlog import dead_letters
from firsthour.runtime.eventlog.failure_reason import failure_reason
from schemas.envelope import UnknownEventError, data_of, decode, encode
from schemas.events.routes import RepAvailabilityChanged

PERSON = "ada@corp.example"
AT = datetime(2026, 12, 1, tzinfo=UTC)


def test_reason_of_a_failed_statement_omits_its_values() -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        connection.execute(sa.text("CREATE TABLE people (email TEXT PRIMARY KEY)"))
        add = sa.text("INSERT INTO people VALUES (:email)").bindparams(email=PERSON)
        connection.execute(add)
        with pytest.raises(sa.exc.IntegrityError) as caught:
            connection.execute(add)
    assert PERSON in str(caught.value)
    assert failure_reason(caught.value) == "IntegrityError SQLITE_CONSTRAINT_PRIMARYKEY"


def test_reason_of_our_own_failure_names_its_line() -> None:
    with pytest.raises(TypeError) as caught:
        dead_letters._storable(None)  # type: ignore[arg-type]
    assert failure_reason(caught.value).startswith("TypeError at firsthour/runtime/eventlog/dead_letters.py:")


def test_reason_of_a_foreign_record_names_the_field_not_the_value() -> None:
    event = RepAvailabilityChanged(rep="ana", at=AT, state="away")
    body = encode(event, id="1", source="router", time=AT, key="ana")
    for wrong in (PERSON, f"it's ' - at {PERSON}"):
        changed = body.replace(b'"state":"away"', b'"state":' + msgspec.json.encode(wrong))
        with pytest.raises(UnknownEventError) as caught:
            data_of(decode(changed), RepAvailabilityChanged)
        said = failure_reason(caught.value)
        assert PERSON not in said
        assert "Invalid enum value - at `$.state`" in said
