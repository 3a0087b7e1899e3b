"""The judge finds each thing that may go wrong; and a short run, with everything killed, in which it finds nothing.

The full run: `make prove`, or `python -m tests.e2e.prove --seed N`.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.notifier.domain.page import page_id
from tests.e2e.prove.__main__ import run
from tests.e2e.prove.faults import Hit
from tests.e2e.prove.history import History, Receipt, TopicRecord, parsed
from tests.e2e.prove.judge_pages import lateness, owed, settled_seconds
from tests.e2e.prove.plan import ProofPlan, Spam, flood, short, stream
from tests.e2e.prove.report import ProofReport, judged

START = 1_800_000_000.0
PLAN = ProofPlan(1, ladder=(0.0, 20.0, 60.0), reassign_at=80.0)


@pytest.mark.kill
@pytest.mark.timeout(400)
def test_killed_in_every_way_for_half_a_minute_nothing_is_lost_doubled_or_left_unsaid(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    print(f"again: python -m tests.e2e.prove --short --flood --seed {seed}")
    report = run(short(seed, flood=True), tmp_path)
    print(report)
    assert report.broken == []


# --- the stream ---------------------------------------------------------------------------------------------------


def test_the_stream_holds_as_many_events_as_asked_for_and_some_twice_through_the_other_gateway() -> None:
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


def test_a_flood_is_six_large_forms_of_one_address_with_new_names_each_time() -> None:
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


# --- a made-up history in which all is well -------------------------------------------------------------------------


def moment(after: float) -> str:
    return datetime.fromtimestamp(START + after, UTC).isoformat()


class JudgedStory:
    """One lead: it asks, is given to rep1, is told of three times and taken away, given to rep2, who calls."""

    def __init__(self) -> None:
        self.records: list[TopicRecord] = []
        self.receipts: list[Receipt] = []
        self.hits: list[Hit] = []
        self.client: list[dict[str, Any]] = []
        self.version = 0
        self.acknowledge("form-1", 0.0)
        self.say("events", 0.1, "e1", "form.submitted", "a@b.example", source_id="form-1")
        trigger = {"event_id": "e1", "type": "form.submitted"}
        self.say(
            "leads", 0.2, "s1", "lead.scored", "L", version=1, at=moment(0.2), trigger=trigger, met=[{"name": "x"}]
        )
        self.route("lead.qualified", 0.3, "new", "qualified", 0, trigger=trigger, submit_at=moment(0.0))
        self.assign("rep1", 0.3, 1)
        for rung, at in ((0, 0.4), (1, 20.4), (2, 60.4)):
            self.page("rep1", 1, rung, at)
        self.ask(80.4, "L:1:3", 1)
        self.route("lead.released", 80.5, "assigned", "qualified", 1, rep="rep1", kind="reassign")
        self.assign("rep2", 80.5, 2)
        self.say(
            "routes", 80.5, "a1", "action.resolved", "L", action_id="L:1:3", epoch=1, at=moment(80.5), outcome="applied"
        )
        self.page("rep2", 2, 0, 80.6)
        self.acknowledge("touch-1", 85.0)
        self.say("events", 85.1, "e2", "touch.recorded", "a@b.example", source_id="touch-1")
        self.say("leads", 85.2, "t1", "lead.touched", "L", at=moment(85.1), event_id="e2")
        self.route("touch.applied", 85.3, "assigned", "working", 2, touched_at=moment(85.1), event_id="e2")

    def acknowledge(self, id: str, at: float, /, **more: Any) -> None:
        line = {
            "kind": "event",
            "id": id,
            "sent": START + at,
            "seconds": 0.01,
            "status": 202,
            "error": "",
            "gateway": 0,
        }
        self.client.append({**line, **more})

    def say(self, topic: str, at: float, id: str, type: str, key: str, /, **data: Any) -> None:
        data = {"lead_id": key, **data} if topic != "events" else data
        place = sum(record.topic == topic for record in self.records)
        self.records.append(TopicRecord(topic, 0, place, START + at, id, type, key, data))

    def route(self, type: str, at: float, was: str, status: str, epoch: int, /, **data: Any) -> None:
        self.version += 1
        same = {"version": self.version, "at": moment(at), "was": was, "status": status, "epoch": epoch}
        self.say("routes", at, f"r{self.version}", type, "L", **same, **data)

    def assign(self, rep: str, at: float, epoch: int) -> None:
        told = {"rep": rep, "assigned_at": moment(at), "submit_at": moment(0.0)}
        self.route("lead.assigned", at, "qualified", "assigned", epoch, **told)

    def ask(self, at: float, id: str, epoch: int) -> None:
        self.say(
            "actions", at, id, "action.requested", "L", action_id=id, action="reassign", epoch=epoch, at=moment(at)
        )

    def page(self, rep: str, epoch: int, rung: int, at: float, *, answered: bool = True) -> None:
        id = page_id("L", epoch, rung, rep)
        self.receipts.append(Receipt(START + at, id, "slack", rep, answered))
        if not any(record.id == f"p{id}" for record in self.records):
            self.say("pages", at + 0.1, f"p{id}", "page.sent", "L", page_id=id, epoch=epoch, rung=rung, at=moment(at))

    def without(self, id: str) -> None:
        self.records = [record for record in self.records if record.id != id]

    def change(self, id: str, **data: Any) -> None:
        self.records = [replace(r, data={**r.data, **data}) if r.id == id else r for r in self.records]

    def copy(self, id: str, new: str) -> None:
        """The same record once more under another id, at the end of its topic."""
        found = next(record for record in self.records if record.id == id)
        self.records.append(replace(found, id=new, offset=1_000))

    @property
    def history(self) -> History:
        topics: dict[str, list[TopicRecord]] = {}
        for record in self.records:
            topics.setdefault(record.topic, []).append(record)
        return History(PLAN, self.client, self.receipts, self.hits, [START + 300.0], topics)

    def found(self) -> list[str]:
        return [str(finding) for finding in judged(self.history, times=True)]

    def kinds(self) -> set[str]:
        return {finding.kind for finding in judged(self.history, times=True)}


@pytest.fixture
def story() -> JudgedStory:
    return JudgedStory()


def test_where_all_is_well_the_judge_finds_nothing(story: JudgedStory) -> None:
    assert story.found() == []
    assert owed(story.history) == 0
    assert "clean" in str(ProofReport(story.history, []))


def test_a_record_that_stands_twice_counts_once(story: JudgedStory) -> None:
    story.records += [replace(record, offset=record.offset + 1_000) for record in story.records]
    assert story.found() == []


# --- lost ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["e1", "s1", "t1", "r1", "r2", "r3", "r5", "a1"])
def test_a_record_that_is_missing_from_any_topic_is_found(story: JudgedStory, id: str) -> None:
    story.without(id)
    assert "lost" in story.kinds()


def test_an_acknowledged_event_on_no_topic_is_lost(story: JudgedStory) -> None:
    story.acknowledge("view-9", 3.0)
    assert story.found() == ["lost: event view-9 was acknowledged and is not on `events`"]


def test_an_event_that_was_not_acknowledged_may_be_missing_but_not_for_ever(story: JudgedStory) -> None:
    story.acknowledge("view-9", 3.0, status=None, error="ReadError")
    assert story.found() == ["other: event view-9 was never acknowledged"]


def test_an_opt_out_that_nobody_heard_is_lost(story: JudgedStory) -> None:
    story.say("leads", 90.0, "c1", "consent.changed", "L", at=moment(90.0), given=False, event_id="e9")
    assert "lost" in story.kinds()


def test_a_lead_handed_over_and_left_lying_is_lost(story: JudgedStory) -> None:
    story.records = [r for r in story.records if r.topic != "routes" or r.data.get("version", 9) == 1]
    assert any("neither owned nor queued" in found for found in story.found())


@pytest.mark.parametrize(
    ("action", "more"), [("touch", {"at": moment(200.0)}), ("reject", {}), ("accept", {"lead": "M"})]
)
def test_an_action_acknowledged_without_effect_is_lost(story: JudgedStory, action: str, more: dict[str, Any]) -> None:
    story.acknowledge("x", 90.0, kind="action", status=200, action=action, **{"lead": "L", **more})
    assert any("acknowledged without effect" in found for found in story.found())


# --- twice --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("id", "kind"), [("e1", "applied twice"), ("s1", "applied twice"), ("t1", "applied twice")])
def test_one_event_with_two_effects_is_found(story: JudgedStory, id: str, kind: str) -> None:
    story.copy(id, "other")
    assert kind in story.kinds()


@pytest.mark.parametrize("id", ["r1", "r3", "r5", "a1"])
def test_a_hand_over_a_release_a_touch_and_an_answer_happen_once(story: JudgedStory, id: str) -> None:
    story.copy(id, "other")
    assert "applied twice" in story.kinds()


def test_an_action_over_http_that_took_effect_twice_is_found(story: JudgedStory) -> None:
    at = moment(86.0)
    story.acknowledge("touch-a", 86.0, kind="action", status=200, action="touch", lead="L", at=at)
    for _ in range(2):
        story.route("touch.applied", 86.1, "working", "working", 2, touched_at=at)
    assert "applied twice" in story.kinds()


def test_a_page_said_to_be_sent_twice_is_found(story: JudgedStory) -> None:
    story.copy(f"p{page_id('L', 1, 0, 'rep1')}", "other")
    assert story.kinds() == {"applied twice"}


# --- owners and order ---------------------------------------------------------------------------------------------


def test_two_assignments_of_one_number_are_two_owners(story: JudgedStory) -> None:
    story.change("r4", epoch=1)
    assert "two owners" in story.kinds()


def test_an_assignment_before_the_one_before_ended_is_a_second_owner(story: JudgedStory) -> None:
    story.without("r3")
    assert "two owners" in story.kinds()


def test_records_of_one_lead_out_of_the_order_of_their_commits_are_found(story: JudgedStory) -> None:
    story.records = [_swapped(record, "r1", "r2") for record in story.records]
    assert "order" in story.kinds()


def _swapped(record: TopicRecord, one: str, other: str) -> TopicRecord:
    places = {one: 1, other: 0}
    return replace(record, offset=places[record.id]) if record.id in places else record


def test_a_record_that_does_not_begin_where_the_one_before_ended_is_found(story: JudgedStory) -> None:
    story.change("r3", was="accepted")
    assert story.kinds() == {"order"}


def test_actions_of_an_older_assignment_after_a_newer_one_are_found(story: JudgedStory) -> None:
    story.ask(170.0, "L:2:3", 2)
    story.ask(171.0, "L:1:9", 1)
    assert "order" in story.kinds()


# --- pages --------------------------------------------------------------------------------------------------------


def test_a_page_that_never_came_is_found(story: JudgedStory) -> None:
    story.receipts = story.receipts[:-1]
    story.records = [record for record in story.records if record.topic != "pages"]
    story.without("r5")
    assert "page missing" in story.kinds()
    assert owed(story.history) > 0


def test_a_page_whose_ladder_ended_before_it_could_come_is_not_owed(story: JudgedStory) -> None:
    story.records = [record for record in story.records if record.topic != "pages"]
    story.receipts = story.receipts[:-1]
    assert story.found() == []


def test_a_page_that_never_came_is_found_though_the_next_one_did(story: JudgedStory) -> None:
    first = page_id("L", 1, 0, "rep1")
    story.receipts = [receipt for receipt in story.receipts if receipt.page_id != first]
    story.without(f"p{first}")
    assert story.kinds() == {"page missing"}


def test_a_page_said_to_be_sent_that_nobody_received_is_found(story: JudgedStory) -> None:
    story.receipts = story.receipts[1:]
    assert "page missing" in story.kinds()


def test_a_page_that_ended_as_failed_is_found_since_mail_was_there(story: JudgedStory) -> None:
    story.say("pages", 0.5, "f1", "page.failed", "L", page_id=page_id("L", 2, 0, "rep2"), at=moment(81.0))
    assert story.kinds() == {"page missing"}


def test_a_page_about_no_assignment_is_found(story: JudgedStory) -> None:
    story.page("rep7", 1, 0, 3.0)
    assert story.kinds() == {"other"}


def test_a_rung_that_changes_the_owner_and_never_fired_is_found(story: JudgedStory) -> None:
    for id in ("r3", "r4", "r5", "a1", "L:1:3"):
        story.without(id)
    assert any("the rung that changes the owner never fired" in found for found in story.found())


def again(story: JudgedStory, *, answered: bool = True) -> None:
    """The first page arrives a second time."""
    story.receipts = [replace(r, answered=answered) if n == 0 else r for n, r in enumerate(story.receipts)]
    story.page("rep1", 1, 0, 10.4)


def test_a_page_that_arrives_again_for_no_reason_is_found(story: JudgedStory) -> None:
    again(story)
    assert story.kinds() == {"too many deliveries"}


@pytest.mark.parametrize(("what", "target"), [("kill", "notifier-1"), ("database restarted", "")])
def test_a_page_may_arrive_once_more_for_each_kill_or_restart_between(
    story: JudgedStory, what: str, target: str
) -> None:
    again(story)
    story.hits = [Hit(what, target, START + 5.0, START + 5.1)]
    assert story.found() == []
    story.page("rep1", 1, 0, 11.0)
    assert story.kinds() == {"too many deliveries"}


def test_a_broken_answer_excuses_a_repeat_and_another_service_killed_does_not(story: JudgedStory) -> None:
    again(story, answered=False)
    assert story.found() == []
    story.receipts = [replace(receipt, answered=True) for receipt in story.receipts]
    story.hits = [Hit("kill", "router-0", START + 5.0, START + 5.1)]
    assert story.kinds() == {"too many deliveries"}


# --- time ---------------------------------------------------------------------------------------------------------


def delayed(story: JudgedStory, seconds: float) -> None:
    """The page of the first assignment's last rung comes late, and so does the change of owner."""
    third = page_id("L", 1, 2, "rep1")
    story.receipts = [replace(r, at=r.at + seconds) if r.page_id == third else r for r in story.receipts]
    story.change("L:1:3", at=moment(80.4 + seconds))


def test_a_rung_a_minute_late_is_found_under_one_fault_and_not_under_two(story: JudgedStory) -> None:
    delayed(story, 61.0)
    assert story.kinds() == {"late"}
    story.hits = [Hit("broker stopped", "", START + 58.0, START + 88.0)]
    assert story.kinds() == {"late"}
    story.hits.append(Hit("database restarted", "", START + 90.0, START + 92.0))
    assert story.found() == []


def told_late(story: JudgedStory, first: float, others: float) -> None:
    """The pages of the first assignment and its change of owner come so many seconds late: the first page, and the rest."""
    late = {page_id("L", 1, rung, "rep1"): first if rung == 0 else others for rung in range(3)}
    story.receipts = [replace(receipt, at=receipt.at + late.get(receipt.page_id, 0.0)) for receipt in story.receipts]
    story.change("L:1:3", at=moment(80.4 + others))


def test_rungs_after_one_that_was_told_late_are_due_their_span_after_it(story: JudgedStory) -> None:
    told_late(story, 70.0, 70.0)
    story.hits = [Hit("kill", f"notifier-{n}", START + n, START + n + 1.0) for n in range(2)]
    assert story.found() == []
    found = lateness(story.history)
    assert found.worst == pytest.approx(70.1, abs=0.01)
    assert found.worst_single < 1.0


def test_a_rung_a_minute_after_its_span_is_found_though_the_one_before_was_told_late(story: JudgedStory) -> None:
    told_late(story, 70.0, 131.0)
    story.hits = [Hit("kill", f"notifier-{n}", START + n, START + n + 1.0) for n in range(2)]
    [found] = story.found()
    assert "rung 1" in found
    assert "61.0 s late, under no fault" in found


def test_a_rung_that_does_not_wait_for_its_span_after_a_late_one_is_found(story: JudgedStory) -> None:
    told_late(story, 19.0, 0.0)
    [found] = story.found()
    assert "rung 1" in found
    assert "19.0 s before its time" in found


def test_a_change_of_owner_is_due_its_span_after_the_owner_accepted_an_overdue_page(story: JudgedStory) -> None:
    third = page_id("L", 1, 2, "rep1")
    story.receipts = [receipt for receipt in story.receipts if receipt.page_id != third]
    story.without(f"p{third}")
    story.records = [replace(r, type="lead.accepted") if r.id == "r3" else r for r in story.records]
    story.change("r3", at=moment(130.0))
    story.change("L:1:3", at=moment(150.4))
    story.hits = [Hit("kill", f"notifier-{n}", START + 60.0 + n, START + 61.0 + n) for n in range(2)]
    assert lateness(story.history).worst < 1.0


def test_a_rolling_restart_is_one_fault_however_many_processes_it_takes(story: JudgedStory) -> None:
    delayed(story, 61.0)
    story.hits = [Hit("rolling restart", f"router-{n}", START + 60.0 + n, START + 61.0 + n) for n in range(2)]
    assert story.kinds() == {"late"}


def test_an_answer_that_took_longer_than_three_seconds_is_found(story: JudgedStory) -> None:
    story.acknowledge("form-1", 1.0, seconds=3.5)
    assert story.kinds() == {"slow"}
    story.client[-1] |= {"status": None, "error": "ReadTimeout", "seconds": 10.0}
    assert story.kinds() == {"slow"}
    story.client[-1] |= {"error": "ReadError"}
    assert story.found() == []


def test_settling_is_counted_from_the_last_fault_to_the_last_effect_of_what_was_before_it(story: JudgedStory) -> None:
    assert settled_seconds(story.history, START + 0.06) == pytest.approx(0.24, abs=0.01)
    assert settled_seconds(story.history, START + 300.0) == 0.0


def test_a_page_that_several_faults_kept_back_until_its_ladder_ended_is_excused(story: JudgedStory) -> None:
    third = page_id("L", 1, 0, "rep1")
    story.receipts = [receipt for receipt in story.receipts if receipt.at > START + 70.0]
    story.records = [record for record in story.records if record.topic != "pages" or record.at > START + 70.0]
    assert f"{third}" in " ".join(story.found())
    story.hits = [Hit("kill", f"notifier-{n}", START + n, START + n + 1.0) for n in range(2)]
    assert story.found() == []


def test_what_is_on_a_topic_and_not_ours_is_told_apart() -> None:
    assert list(_readable([b"{}", b"not json", b"[]", b'{"id": 1, "type": "x", "partitionkey": "k", "data": {}}'])) == [
        False,
        False,
        False,
        True,
    ]


def _readable(values: Sequence[bytes]) -> Iterator[bool]:
    return (parsed("leads", 0, 0, 0.0, value) is not None for value in values)
