"""The judge finds each missing, doubled and late page."""

from dataclasses import replace

import pytest

from services.notifier.domain.page import HANDED_ON, LOST, page_id
from tests.e2e.judged_story import START, JudgedStory, moment
from tests.e2e.prove.faults import Hit
from tests.e2e.prove.judge_pages import lateness, owed, settled_seconds


@pytest.fixture
def story() -> JudgedStory:
    return JudgedStory()


# --- pages --------------------------------------------------------------------------------------------------------


def test_page_that_was_never_received_is_missing(story: JudgedStory) -> None:
    story.receipts = story.receipts[:-1]
    story.records = [record for record in story.records if record.topic != "pages"]
    story.without("r5")
    assert "page missing" in story.kinds()
    assert owed(story.history) > 0


def test_page_is_not_owed_after_its_ladder_has_ended(story: JudgedStory) -> None:
    story.records = [record for record in story.records if record.topic != "pages"]
    story.receipts = story.receipts[:-1]
    assert story.findings() == []


def test_page_that_was_never_received_is_missing_even_if_a_later_one_came(story: JudgedStory) -> None:
    first = page_id("L", 1, 0, "rep1")
    story.receipts = [receipt for receipt in story.receipts if receipt.page_id != first]
    story.without(f"p{first}")
    assert story.kinds() == {"page missing"}


def test_sent_page_without_a_receipt_is_missing(story: JudgedStory) -> None:
    story.receipts = story.receipts[1:]
    assert "page missing" in story.kinds()


def test_failed_page_is_missing_while_mail_was_available(story: JudgedStory) -> None:
    story.add("pages", 0.5, "f1", "page.failed", "L", page_id=page_id("L", 2, 0, "rep2"), at=moment(81.0))
    assert story.kinds() == {"page missing"}


def test_page_of_no_assignment_is_found(story: JudgedStory) -> None:
    story.page("rep7", 1, 0, 3.0)
    assert story.kinds() == {"other"}


def test_change_of_owner_that_never_happened_is_found(story: JudgedStory) -> None:
    for id in ("r3", "r4", "r5", "a1", "L:1:3"):
        story.without(id)
    assert any("the rung that changes the owner never fired" in finding for finding in story.findings())


def deliver_again(story: JudgedStory, *, answered: bool = True) -> None:
    """Deliver the first page a second time."""
    story.receipts = [replace(r, answered=answered) if n == 0 else r for n, r in enumerate(story.receipts)]
    story.page("rep1", 1, 0, 10.4)


def test_second_delivery_without_a_fault_is_found(story: JudgedStory) -> None:
    deliver_again(story)
    assert story.kinds() == {"too many deliveries"}


@pytest.mark.parametrize(("kind", "target"), [("kill", "notifier-1"), ("database restarted", "")])
def test_each_kill_or_restart_excuses_one_more_delivery(story: JudgedStory, kind: str, target: str) -> None:
    deliver_again(story)
    story.hits = [Hit(kind, target, START + 5.0, START + 5.1)]
    assert story.findings() == []
    story.page("rep1", 1, 0, 11.0)
    assert story.kinds() == {"too many deliveries"}


def test_lost_answer_excuses_a_repeat_and_a_kill_of_another_service_does_not(story: JudgedStory) -> None:
    deliver_again(story, answered=False)
    assert story.findings() == []
    story.receipts = [replace(receipt, answered=True) for receipt in story.receipts]
    story.hits = [Hit("kill", "router-0", START + 5.0, START + 5.1)]
    assert story.kinds() == {"too many deliveries"}


# --- time ---------------------------------------------------------------------------------------------------------


def delay_last_rung(story: JudgedStory, seconds: float) -> None:
    """Deliver the page of the first assignment's last rung late, and change the owner late."""
    third = page_id("L", 1, 2, "rep1")
    story.receipts = [replace(r, at=r.at + seconds) if r.page_id == third else r for r in story.receipts]
    story.change("L:1:3", at=moment(80.4 + seconds))


def test_rung_a_minute_late_is_found_after_one_fault_and_not_after_two(story: JudgedStory) -> None:
    delay_last_rung(story, 61.0)
    assert story.kinds() == {"late"}
    story.hits = [Hit("broker stopped", "", START + 58.0, START + 88.0)]
    assert story.kinds() == {"late"}
    story.hits.append(Hit("database restarted", "", START + 90.0, START + 92.0))
    assert story.findings() == []


def delay_pages(story: JudgedStory, first: float, others: float) -> None:
    """Deliver the pages of the first assignment late: the first page by `first` seconds, the rest by `others`."""
    late = {page_id("L", 1, rung, "rep1"): first if rung == 0 else others for rung in range(3)}
    story.receipts = [replace(receipt, at=receipt.at + late.get(receipt.page_id, 0.0)) for receipt in story.receipts]
    story.change("L:1:3", at=moment(80.4 + others))


def test_rung_after_a_late_page_is_due_its_span_after_that_page(story: JudgedStory) -> None:
    delay_pages(story, 70.0, 70.0)
    story.hits = [Hit("kill", f"notifier-{n}", START + n, START + n + 1.0) for n in range(2)]
    assert story.findings() == []
    late = lateness(story.history)
    assert late.worst == pytest.approx(70.1, abs=0.01)
    assert late.worst_single < 1.0


def test_rung_a_minute_after_its_span_is_late_even_after_a_late_page(story: JudgedStory) -> None:
    delay_pages(story, 70.0, 131.0)
    story.hits = [Hit("kill", f"notifier-{n}", START + n, START + n + 1.0) for n in range(2)]
    [finding] = story.findings()
    assert "rung 1" in finding
    assert "61.0 s late, under no fault" in finding


def test_rung_before_the_end_of_its_span_after_a_late_page_is_found(story: JudgedStory) -> None:
    delay_pages(story, 19.0, 0.0)
    [finding] = story.findings()
    assert "rung 1" in finding
    assert "19.0 s before its time" in finding


def test_change_of_owner_is_due_its_span_after_an_overdue_page_was_accepted(story: JudgedStory) -> None:
    third = page_id("L", 1, 2, "rep1")
    story.receipts = [receipt for receipt in story.receipts if receipt.page_id != third]
    story.without(f"p{third}")
    story.records = [replace(r, type="lead.accepted") if r.id == "r3" else r for r in story.records]
    story.change("r3", at=moment(130.0))
    story.change("L:1:3", at=moment(150.4))
    story.hits = [Hit("kill", f"notifier-{n}", START + 60.0 + n, START + 61.0 + n) for n in range(2)]
    assert lateness(story.history).worst < 1.0


def test_rolling_restart_of_many_processes_counts_as_one_fault(story: JudgedStory) -> None:
    delay_last_rung(story, 61.0)
    story.hits = [Hit("rolling restart", f"router-{n}", START + 60.0 + n, START + 61.0 + n) for n in range(2)]
    assert story.kinds() == {"late"}


def test_answer_after_more_than_three_seconds_is_slow(story: JudgedStory) -> None:
    story.acknowledge("form-1", 1.0, seconds=3.5)
    assert story.kinds() == {"slow"}
    story.client[-1] |= {"status": None, "error": "ReadTimeout", "seconds": 10.0}
    assert story.kinds() == {"slow"}
    story.client[-1] |= {"error": "ReadError"}
    assert story.findings() == []


def test_settling_lasts_from_the_last_fault_to_the_last_effect_of_earlier_events(story: JudgedStory) -> None:
    assert settled_seconds(story.history, START + 0.06) == pytest.approx(0.24, abs=0.01)
    assert settled_seconds(story.history, START + 300.0) == 0.0


def test_page_delayed_by_several_faults_until_its_ladder_ended_is_excused(story: JudgedStory) -> None:
    third = page_id("L", 1, 0, "rep1")
    story.receipts = [receipt for receipt in story.receipts if receipt.at > START + 70.0]
    story.records = [record for record in story.records if record.topic != "pages" or record.at > START + 70.0]
    assert f"{third}" in " ".join(story.findings())
    story.hits = [Hit("kill", f"notifier-{n}", START + n, START + n + 1.0) for n in range(2)]
    assert story.findings() == []


def test_notice_to_the_rep_who_lost_the_lead_is_explained(story: JudgedStory) -> None:
    story.page("rep1", 1, LOST, 80.7)
    assert story.kinds() == set()


def test_notice_to_a_rep_who_still_owns_the_lead_is_not_explained(story: JudgedStory) -> None:
    story.page("rep2", 2, LOST, 82.0)
    assert "other" in story.kinds()


def test_page_to_the_next_owner_is_explained_only_if_the_lead_was_contacted_before(story: JudgedStory) -> None:
    story.page("rep1", 1, HANDED_ON, 82.0)
    page = page_id("L", 1, HANDED_ON, "rep1")
    assert page in " ".join(story.findings())
    assigned = next(r.id for r in story.records if r.type == "lead.assigned" and r.data["epoch"] == 1)
    story.change(assigned, touched_at=moment(70.0))
    assert page not in " ".join(story.findings())
