"""The picture of the lifecycle."""

from itertools import combinations

from schemas.agreement.lifecycle import STATUSES, TRANSITIONS
from services.console.fences import STATUSES_MAX, fence_picture

WAYS = [way.model_dump(mode="json", by_alias=True) for way in TRANSITIONS]


def test_every_status_stands_inside_the_fence_of_its_team() -> None:
    picture = fence_picture(STATUSES, WAYS)
    assert picture is not None
    fences = {fence.team: fence for fence in picture.fences}
    assert {box.name: box.team for box in picture.boxes} == dict(STATUSES)
    for box in picture.boxes:
        fence = fences[box.team]
        assert fence.x < box.x
        assert box.x + box.width < fence.x + fence.width
        assert fence.y < box.y
        assert box.y + box.height < fence.y + fence.height
    assert max(fence.y + fence.height for fence in picture.fences) <= picture.height


def test_boxes_do_not_touch() -> None:
    picture = fence_picture(STATUSES, WAYS)
    assert picture is not None
    for one, other in combinations(picture.boxes, 2):
        apart = one.y + one.height < other.y or other.y + other.height < one.y
        assert apart or one.x != other.x, (one.name, other.name)


def test_arrows_name_the_fence_that_they_cross() -> None:
    picture = fence_picture(STATUSES, WAYS)
    assert picture is not None
    kinds = {(arrow.start, arrow.end): arrow.kind for arrow in picture.arrows}
    assert kinds["new", "qualified"] == "handover"
    assert kinds["assigned", "nurturing"] == "back"
    assert kinds["assigned", "accepted"] == "inside"
    assert len(kinds) == len(picture.arrows)


def test_way_from_any_status_is_a_note_instead_of_arrows() -> None:
    picture = fence_picture(STATUSES, WAYS)
    assert picture is not None
    assert [box.name for box in picture.boxes if box.from_any] == ["opted-out"]
    assert not [arrow for arrow in picture.arrows if arrow.end == "opted-out"]


def test_lifecycle_of_one_team_without_ways_is_drawn() -> None:
    picture = fence_picture({"new": "marketing"}, [])
    assert picture is not None
    assert (len(picture.fences), len(picture.boxes), list(picture.arrows)) == (1, 1, [])


def test_too_many_statuses_have_no_picture() -> None:
    assert fence_picture({f"s{n}": "sales" for n in range(STATUSES_MAX + 1)}, []) is None
