"""A correct history of a proof, with methods that damage it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.notifier.domain.page import page_id
from tests.e2e.prove.faults import Hit
from tests.e2e.prove.history import History, Receipt, TopicRecord
from tests.e2e.prove.plan import ProofPlan
from tests.e2e.prove.report import judged

START = 1_800_000_000.0
PLAN = ProofPlan(1, ladder=(0.0, 20.0, 60.0), reassign_at=80.0)


def moment(after: float) -> str:
    return datetime.fromtimestamp(START + after, UTC).isoformat()


class JudgedStory:
    """One lead: it submits a form, is assigned to rep1, paged three times, reassigned to rep2, and touched by rep2."""

    def __init__(self) -> None:
        self.records: list[TopicRecord] = []
        self.receipts: list[Receipt] = []
        self.hits: list[Hit] = []
        self.client: list[dict[str, Any]] = []
        self.version = 0
        self.acknowledge("form-1", 0.0)
        self.add("events", 0.1, "e1", "form.submitted", "a@b.example", source_id="form-1")
        trigger = {"event_id": "e1", "type": "form.submitted"}
        self.add(
            "leads", 0.2, "s1", "lead.scored", "L", version=1, at=moment(0.2), trigger=trigger, met=[{"name": "x"}]
        )
        self.route("lead.qualified", 0.3, "new", "qualified", 0, trigger=trigger, submit_at=moment(0.0))
        self.assign("rep1", 0.3, 1)
        for rung, at in ((0, 0.4), (1, 20.4), (2, 60.4)):
            self.page("rep1", 1, rung, at)
        self.ask(80.4, "L:1:3", 1)
        self.route("lead.released", 80.5, "assigned", "qualified", 1, rep="rep1", kind="reassign")
        self.assign("rep2", 80.5, 2)
        self.add(
            "routes", 80.5, "a1", "action.resolved", "L", action_id="L:1:3", epoch=1, at=moment(80.5), outcome="applied"
        )
        self.page("rep2", 2, 0, 80.6)
        self.acknowledge("touch-1", 85.0)
        self.add("events", 85.1, "e2", "touch.recorded", "a@b.example", source_id="touch-1")
        self.add("leads", 85.2, "t1", "lead.touched", "L", at=moment(85.1), event_id="e2")
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

    def add(self, topic: str, at: float, id: str, type: str, key: str, /, **data: Any) -> None:
        data = {"lead_id": key, **data} if topic != "events" else data
        offset = sum(record.topic == topic for record in self.records)
        self.records.append(TopicRecord(topic, 0, offset, START + at, id, type, key, data))

    def route(self, type: str, at: float, was: str, status: str, epoch: int, /, **data: Any) -> None:
        self.version += 1
        same = {"version": self.version, "at": moment(at), "was": was, "status": status, "epoch": epoch}
        self.add("routes", at, f"r{self.version}", type, "L", **same, **data)

    def assign(self, rep: str, at: float, epoch: int) -> None:
        data = {"rep": rep, "assigned_at": moment(at), "submit_at": moment(0.0)}
        self.route("lead.assigned", at, "qualified", "assigned", epoch, **data)

    def ask(self, at: float, id: str, epoch: int) -> None:
        self.add(
            "actions", at, id, "action.requested", "L", action_id=id, action="reassign", epoch=epoch, at=moment(at)
        )

    def page(self, rep: str, epoch: int, rung: int, at: float, *, answered: bool = True) -> None:
        id = page_id("L", epoch, rung, rep)
        self.receipts.append(Receipt(START + at, id, "slack", rep, answered))
        if not any(record.id == f"p{id}" for record in self.records):
            self.add("pages", at + 0.1, f"p{id}", "page.sent", "L", page_id=id, epoch=epoch, rung=rung, at=moment(at))

    def without(self, id: str) -> None:
        self.records = [record for record in self.records if record.id != id]

    def change(self, id: str, **data: Any) -> None:
        self.records = [replace(r, data={**r.data, **data}) if r.id == id else r for r in self.records]

    def copy(self, id: str, new: str) -> None:
        """Add the record once more under another id, at the end of its topic."""
        original = next(record for record in self.records if record.id == id)
        self.records.append(replace(original, id=new, offset=1_000))

    @property
    def history(self) -> History:
        topics: dict[str, list[TopicRecord]] = {}
        for record in self.records:
            topics.setdefault(record.topic, []).append(record)
        return History(PLAN, self.client, self.receipts, self.hits, [START + 300.0], topics)

    def findings(self) -> list[str]:
        return [str(finding) for finding in judged(self.history, times=True)]

    def kinds(self) -> set[str]:
        return {finding.kind for finding in judged(self.history, times=True)}
