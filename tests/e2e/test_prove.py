"""A short run of the proof in which everything is killed, and the stream of its events.

The full run: `make prove`, or `python -m tests.e2e.prove --seed N`.
"""

import random
from pathlib import Path

import pytest

from tests.e2e.prove.__main__ import run
from tests.e2e.prove.plan import ProofPlan, Spam, flood, short, stream


@pytest.mark.kill
@pytest.mark.timeout(400)
def test_short_run_with_every_kind_of_kill_is_clean(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"again: python -m tests.e2e.prove --short --flood --seed {seed}")
    report = run(short(seed, flood=True), tmp_path)
    print(report)
    assert report.broken == []


# --- the stream ---------------------------------------------------------------------------------------------------


def test_stream_has_the_planned_events_and_repeats_some_at_the_other_gateway() -> None:
    plan = ProofPlan(7, events=1_000, leads=400, reps=40)
    posts = stream(plan)
    ids = [post.id for post in posts]
    assert len(set(ids)) == 1_000
    assert 50 < len(ids) - 1_000 < 200
    assert stream(plan) == posts
    assert all(posts[n].at <= posts[n + 1].at for n in range(len(posts) - 1))
    for id in set(ids):
        gateways = [post.gateway for post in posts if post.id == id]
        assert len(gateways) == 1 or sorted(gateways) == [0, 1]


def test_flood_is_six_large_forms_per_address_with_new_field_names() -> None:
    plan = ProofPlan(7, flood=True)
    posts = list(flood(plan))
    by_time: dict[str, list[Spam]] = {}
    for post in posts:
        by_time.setdefault(post.id.rpartition("-")[0], []).append(post)
    assert all(len(some) == 6 and len({post.email for post in some}) == 1 for some in by_time.values())
    assert len({post.email for post in posts}) > 2
    assert sum(post.email == "flood@flood.example" for post in posts) > 6
    unknown = [[name for name in post.body if name.startswith("field ")] for post in posts]
    assert all(len(names) == 120 for names in unknown)
    assert len({name for names in unknown for name in names}) == 120 * len(posts)
    assert {len(post.body[name]) for post, names in zip(posts, unknown, strict=True) for name in names} == {2_000}
    assert posts[-1].at > plan.seconds * 0.7
    assert list(flood(ProofPlan(7))) == []
