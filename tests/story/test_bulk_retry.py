"""The dead letters of a source are retried together, after its mapping was corrected."""

import json
from typing import Any

import pytest

from firsthour.operations import dead_letters
from tests.story.conftest import OpenWorld
from tests.story.test_sources import source
from tests.story.world import World

_VERIFY = {"scheme": "hmac-sha256", "header": "X-Signature", "encoding": "hex", "secrets": [{"file": "phone.secret"}]}
_EVENT = {"type": "form.submitted", "id": "uuid", "data": {"form": "'demo-request'"}}
PEOPLE = ("ann", "ben", "cem", "dee", "eve")


def sources(email: str) -> dict[str, Any]:
    """Return `sources.yaml` with the source `chat`. `email`: the expression of the address."""
    chat = {"id": "chat", "kind": "webhook", "verify": _VERIFY, "events": [{**_EVENT, "email": email}]}
    return {"sources": [chat]}


WRONG, RIGHT = sources("contact.phone"), sources("contact.email")


async def send(world: World, *people: str) -> None:
    """Deliver a webhook of each person. `?`: one without any address."""
    for person in people:
        contact = {} if person == "?" else {"phone": f"none of {person}", "email": f"{person}@prospect.example"}
        answer = await world.hook("chat", json.dumps({"uuid": person, "contact": contact}).encode())
        assert answer.status_code == 202
        assert answer.json()["kept"] == 1


async def retry(world: World, **query: Any) -> Any:
    answer = await world.ask("POST", "/v1/deadletters/retry?" + "&".join(f"{k}={v}" for k, v in query.items()))
    return answer.json() if answer.status_code == 200 else answer.status_code


async def waiting(world: World, source: str = "chat") -> int:
    return len((await world.get(f"/v1/deadletters?source={source}"))["items"])


@pytest.mark.both_profiles
async def test_letters_of_a_source_become_leads_after_its_mapping_is_corrected(open_world: OpenWorld) -> None:
    world = await open_world(sources=WRONG)
    await send(world, *PEOPLE, "?")
    assert await world.ask("POST", "/v1/events", body={"id": "1", "type": "nonsense"})
    assert (await waiting(world), await waiting(world, "website"), await world.appended("events")) == (6, 0, 0)
    first = await retry(world, source="chat", limit=500)
    assert (first["retried"], first["failed"], first["left"], first["next"]) == (0, 6, 0, None)

    await world.change("sources", RIGHT)
    pages = [await retry(world, source="chat", limit=2)]
    while pages[-1]["next"] is not None:
        pages.append(await retry(world, source="chat", limit=2, cursor=pages[-1]["next"]))
    await world.settle()

    assert [(page["retried"], page["failed"], page["left"]) for page in pages] == [(2, 0, 4), (2, 0, 2), (1, 1, 0)]
    assert [error["number"] for error in pages[-1]["errors"]] == [1]
    assert await world.appended("events") == len(PEOPLE)
    assert [await world.owner_of(f"{person}@prospect.example") is not None for person in PEOPLE] == [True] * 5
    assert (await waiting(world), len((await world.get("/v1/deadletters"))["items"])) == (1, 2)


@pytest.mark.both_profiles
async def test_bulk_retry_that_is_killed_goes_on_where_it_was(
    open_world: OpenWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await open_world(sources=WRONG)
    await send(world, *PEOPLE)
    await world.change("sources", RIGHT)
    whole, calls = dead_letters.retry, 0

    async def cut_off(*given: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("killed")
        return await whole(*given)

    with monkeypatch.context() as patch:
        patch.setattr(dead_letters, "retry", cut_off)
        assert await retry(world, source="chat") == 500
    await world.restart()
    assert await waiting(world) == 3
    page = await retry(world, source="chat")
    await world.settle()
    assert (page["retried"], page["events"], page["failed"], page["next"]) == (3, 3, 0, None)
    assert (await waiting(world), await world.appended("events")) == (0, 5)


@pytest.mark.both_profiles
async def test_retried_letters_count_as_accepted_when_their_source_sent_them(open_world: OpenWorld) -> None:
    world = await open_world(sources=WRONG)
    await send(world, *PEOPLE, "?")
    arrival = world.clock.now.isoformat().replace("+00:00", "Z")
    await world.change("sources", RIGHT)
    await world.wait(hours=30)
    await retry(world, source="chat")
    chat = await source(world, "chat")
    assert (chat["accepted"], chat["last_seen_at"], chat["surge"]) == (5, arrival, None)

    await world.hook("chat", json.dumps({"uuid": "7", "contact": {"email": "gil@prospect.example"}}).encode())
    chat = await source(world, "chat")
    assert (chat["accepted"], chat["last_seen_at"] > arrival) == (6, True)


@pytest.mark.both_profiles
async def test_deliveries_of_a_removed_source_are_retried_once_it_is_named_again(open_world: OpenWorld) -> None:
    world = await open_world(sources=WRONG)
    await send(world, *PEOPLE)
    await world.change("sources", {"sources": [{"id": "website", "kind": "form", "forms": ["demo-request"]}]})

    chat = await source(world, "chat")
    assert (chat["kind"], chat["kept"]) == ("removed", {"waiting": 5, "unmatched": 0, "quarantined": 0})
    removed = await world.ask("GET", "/v1/sources/chat", "marketing")
    assert (removed.status_code, "5 waiting of it" in removed.json()["detail"]) == (404, True)
    unknown = await world.ask("GET", "/v1/sources/chats", "marketing")
    assert (unknown.status_code, "removed" in unknown.json()["detail"]) == (404, False)
    assert await waiting(world) == 5
    page = await retry(world, source="chat")
    assert (page["retried"], page["failed"], "no longer names" in page["errors"][0]["error"]) == (0, 5, True)

    await world.change("sources", RIGHT)
    page = await retry(world, source="chat")
    assert (page["retried"], page["failed"]) == (5, 0)
    named = await world.ask("GET", "/v1/sources/chat", "marketing")
    assert (named.json()["kind"], named.json()["kept"]["waiting"]) == ("webhook", 0)


async def test_bulk_retry_leaves_posts_of_robots_alone(world: World) -> None:
    await world.post_form("demo-request", email="robot@prospect.example", _hp="filled in")
    await world.post_form("demo-request", email="no address")
    page = await retry(world, source="website")
    assert (page["retried"], page["failed"], page["left"]) == (0, 1, 0)
    assert await world.appended("events") == 0


async def test_bulk_retry_needs_a_source(world: World) -> None:
    assert await retry(world) == 422
    assert await retry(world, source="chat", cursor="x") == 422
