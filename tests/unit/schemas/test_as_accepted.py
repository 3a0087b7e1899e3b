"""A stored configuration is read as it was accepted, although a later release refuses it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.agreement.agreement import Agreement
from schemas.as_accepted import read_as_accepted
from schemas.team import Team

AGREEMENT: dict[str, Any] = {
    "version": 1,
    "scoring": {},
    "qualify": [{"name": "all", "urgency": "hot", "on": "form.submitted"}],
    "routing": {"rules": [{"name": "all", "pool": "all"}]},
    "response": {
        "hot": {"touch_within": "1h"},
        "ladder": [{"at": "0m", "page": "owner", "by": ["slack"]}, {"at": "20m", "page": "manager"}],
    },
}


def changed(**response: Any) -> str:
    return json.dumps(AGREEMENT | {"response": AGREEMENT["response"] | response})


def test_valid_configuration_is_read_as_usual() -> None:
    assert read_as_accepted(Agreement, json.dumps(AGREEMENT)) == Agreement.model_validate(AGREEMENT)


@pytest.mark.parametrize(
    "response",
    [
        {"remind": {"every": "1m"}},  # a check of a whole mapping
        {"reassign_at_most": 99},  # a check of one number
        {"hot": {"touch_within": "0m"}},  # a check of a field that is an urgency
        {"ladder": [{"at": "0m", "page": "owner", "by": ["slack"]}, {"at": "20m", "page": "channel", "to": "&bad"}]},
        {"ladder": [{"at": "5m", "page": "owner", "reassign": True}]},
    ],
)
def test_part_that_is_refused_today_keeps_its_value(response: dict[str, Any]) -> None:
    text = changed(**response)
    with pytest.raises(ValidationError):
        Agreement.model_validate_json(text)
    read = read_as_accepted(Agreement, text)
    [(name, given)] = response.items()
    assert all(isinstance(urgency.touch_within, timedelta) for urgency in read.response.urgencies.values())
    assert all(isinstance(rung.at, timedelta) for rung in read.response.ladder)
    if name == "remind":
        assert read.response.remind.every == timedelta(minutes=1)
    elif name == "reassign_at_most":
        assert read.response.reassign_at_most == given
    elif name == "hot":
        assert read.response.urgencies["hot"].touch_within == timedelta(0)
    else:
        assert len(read.response.ladder) == len(given)
    valid = Agreement.model_validate(AGREEMENT)
    assert (read.qualify, read.routing, read.lifecycle) == (valid.qualify, valid.routing, valid.lifecycle)


def test_address_that_is_refused_today_is_kept() -> None:
    team = {"reps": [{"id": "ana", "name": "Ana", "email": "no address"}], "pools": []}
    with pytest.raises(ValidationError):
        Team.model_validate(team)
    assert read_as_accepted(Team, json.dumps(team)).reps[0].email == "no address"


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"version": 1, "scoring": 7}'])
def test_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_as_accepted(Agreement, text)
