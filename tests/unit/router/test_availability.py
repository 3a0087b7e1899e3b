"""Changes of the availability of a rep."""

import pytest

from services.router.domain.availability import PresenceChange, apply_observation, apply_statement, state_of
from services.router.domain.team_state import Presence, RepState
from tests.unit.router.harness import rep, team
from tests.unit.router.test_actions import HOUR, NOW, rules


def changed(change: PresenceChange | None) -> PresenceChange:
    assert change is not None
    return change


def test_statement_is_published_with_a_new_version() -> None:
    before = Presence(open=3, version=4)
    presence, event = changed(apply_statement("ana", before, NOW, "away", NOW + HOUR, "ill"))
    assert (presence.state, presence.until, presence.reason, presence.published_state) == (
        "away",
        NOW + HOUR,
        "ill",
        "away",
    )
    assert (presence.open, presence.version, event.version) == (3, 5, 5)
    assert (event.rep, event.state, event.reason) == ("ana", "away", "ill")
    assert before == Presence(open=3, version=4)


def test_repeated_statement_changes_nothing() -> None:
    assert apply_statement("ana", Presence(state="away", reason="ill"), NOW, "away", None, "ill") is None


def test_end_of_an_absence_is_published_once() -> None:
    away = Presence(state="away", until=NOW, published_state="away", reason="ill")
    presence, event = changed(apply_observation("ana", away, NOW, "available"))
    assert (presence.state, presence.until, presence.reason, event.state) == ("available", None, None, "available")
    assert apply_observation("ana", presence, NOW, "available") is None


@pytest.mark.parametrize(
    ("name", "presence", "state"),
    [
        ("ana", None, "available"),
        ("ana", Presence(state="away", until=NOW + 1), "away"),
        ("ana", Presence(state="away", until=NOW), "available"),
        ("bo", Presence(), "deactivated"),
        ("zoe", Presence(), "deactivated"),
    ],
)
def test_state_follows_team_file_and_statement(name: str, presence: Presence | None, state: RepState) -> None:
    people = rules(team(rep("ana"), rep("bo", active=False), pools={"all": {"ana": 1}}))
    assert state_of(people, {name: presence} if presence else {}, name, NOW) == state
