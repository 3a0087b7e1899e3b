"""The history of a run as seen from outside: the client's log, the receipts of the sinks, the topics, and the faults."""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from tests.e2e.processes import json_lines
from tests.e2e.prove.faults import Hit
from tests.e2e.prove.plan import ProofPlan
from tests.e2e.prove.processes import Sinks

TOPICS: Final = ("events", "leads", "routes", "actions", "pages")
PREFIX: Final = "firsthour."


@dataclass(frozen=True)
class TopicRecord:
    """A record of a topic. `at`: when it was appended (seconds since the epoch)."""

    topic: str
    partition: int
    offset: int
    at: float
    id: str
    type: str
    key: str
    data: dict[str, Any]

    @property
    def lead(self) -> str:
        return str(self.data.get("lead_id", self.key))

    def moment(self, name: str) -> float:
        """Return a time of its data in seconds since the epoch."""
        return datetime.fromisoformat(self.data[name]).timestamp()


@dataclass(frozen=True)
class Receipt:
    """A page that arrived at a sink."""

    at: float
    page_id: str
    channel: str
    to: str
    answered: bool = True  # the sender got the answer


@dataclass
class History:
    """The input of the judge. `client`: the lines of the client's log."""

    plan: ProofPlan
    client: Sequence[Mapping[str, Any]] = ()
    receipts: Sequence[Receipt] = ()
    hits: Sequence[Hit] = ()
    calm: Sequence[float] = ()  # ends of fault periods
    topics: Mapping[str, Sequence[TopicRecord]] = field(default_factory=dict)

    def records_of(self, topic: str) -> Sequence[TopicRecord]:
        """Return the first occurrence of each record of a topic; those of one lead in their order."""
        return self._first.get(topic, [])

    @cached_property
    def _first(self) -> Mapping[str, Sequence[TopicRecord]]:
        return {topic: _first_of(records) for topic, records in self.topics.items()}

    @cached_property
    def routes(self) -> Mapping[str, list[TopicRecord]]:
        """Return the router's records of each lead in order, with the answers to actions."""
        return _by_lead(record for record in self.records_of("routes") if "lead_id" in record.data)

    @cached_property
    def acknowledged(self) -> Mapping[str, float]:
        """Return when each of the client's events was first acknowledged."""
        times: dict[str, float] = {}
        for line in self.client:
            if line["kind"] == "event" and line["status"] is not None and 200 <= line["status"] < 300:
                at = line["sent"] + line["seconds"]
                times[line["id"]] = min(at, times.get(line["id"], at))
        return times

    @cached_property
    def arrived(self) -> Mapping[str, list[Receipt]]:
        """Return the receipts of each page, in order."""
        by_page: defaultdict[str, list[Receipt]] = defaultdict(list)
        for receipt in sorted(self.receipts, key=lambda receipt: receipt.at):
            by_page[receipt.page_id].append(receipt)
        return by_page


def _first_of(records: Sequence[TopicRecord]) -> list[TopicRecord]:
    by_id: dict[str, TopicRecord] = {}
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        by_id.setdefault(record.id, record)
    return list(by_id.values())


def _by_lead(records: Iterable[TopicRecord]) -> dict[str, list[TopicRecord]]:
    by_lead: defaultdict[str, list[TopicRecord]] = defaultdict(list)
    for record in records:
        by_lead[record.lead].append(record)
    return by_lead


# --- reading ------------------------------------------------------------------------------------------------------


def receipts(sinks: Sinks) -> list[Receipt]:
    """Return the receipts of both sinks."""
    arrivals = [
        Receipt(line["at"], line["page_id"], "slack", line["to"], line["answered"])
        for line in json_lines(sinks.slack_record)
    ]
    for line in json_lines(sinks.smtp_record):
        page = str(line["message_id"]).removeprefix("<").partition("@")[0]
        arrivals.append(Receipt(line["at"], page, "email", line["to"][0]))
    return arrivals


class Topics:
    """A plain reader of every partition of every topic, from the beginning. Each call continues where the last ended."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._next: dict[TopicPartition, int] = {}
        self.records: dict[str, list[TopicRecord]] = {topic: [] for topic in TOPICS}
        self.foreign: list[str] = []  # places of records that are not of the product

    async def read(self, seconds: float = 120.0) -> None:
        """Read to the present ends, with retries while a broker is unreachable. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await self._read()
                except KafkaError:
                    await asyncio.sleep(1.0)

    async def _read(self) -> None:
        consumer = AIOKafkaConsumer(
            *(PREFIX + topic for topic in TOPICS),  # without a group: all partitions
            bootstrap_servers=self._bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=2_000,
        )
        await consumer.start()
        try:
            places = list(consumer.assignment())
            assert {place.topic for place in places} == {PREFIX + topic for topic in TOPICS}, places
            ends = await consumer.end_offsets(places)
            begins = await consumer.beginning_offsets(places)
            for place in places:
                consumer.seek(place, self._next.get(place, begins[place]))
            while any(self._next.get(place, begins[place]) < ends[place] for place in places):
                for place, batch in (await consumer.getmany(timeout_ms=1_000)).items():
                    self._take(place, batch)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10.0):
                    await consumer.stop()

    def _take(self, place: TopicPartition, batch: Sequence[ConsumerRecord]) -> None:
        topic = place.topic.removeprefix(PREFIX)
        for record in batch:
            self._next[place] = record.offset + 1
            parsed_record = parsed(
                topic, record.partition, record.offset, record.timestamp / 1000.0, record.value or b""
            )
            if parsed_record is None:
                self.foreign.append(f"{place.topic}[{record.partition}]@{record.offset}")
            else:
                self.records[topic].append(parsed_record)


def parsed(topic: str, partition: int, offset: int, at: float, value: bytes) -> TopicRecord | None:
    """Return the record of the product. None: the value is something else."""
    try:
        envelope = json.loads(value)
        return TopicRecord(
            topic, partition, offset, at, envelope["id"], envelope["type"], envelope["partitionkey"], envelope["data"]
        )
    except (ValueError, KeyError, TypeError):
        return None
