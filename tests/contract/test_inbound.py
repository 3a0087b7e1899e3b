"""The topic `inbound` over a real broker: each record counts once, and none stops the records after it."""

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from firsthour.bootstrap.distributed import Distributed
from firsthour.operations import drain
from firsthour.operations.drain_kafka import KafkaEnds
from firsthour.runtime import package_files
from firsthour.runtime.connectivity import connection_options
from firsthour.runtime.eventlog import kafka_admin
from schemas.topics import EVENTS, INBOUND
from services.gateway import inbound, source_counts
from services.gateway.intake import events
from services.gateway.intake import inbound as parsing
from services.notifier.channels.inbox import InboxChannel
from tests.backends import Backends
from tests.contract.systems import ADMIN, OpenedSystem, client_of, opened
from tests.distributed_harness import EVERYTHING, apply, open_harness
from tests.hand_clock import HandClock

SOURCE = """
  - {id: shop, kind: kafka, producers: [/shop], types: [form.submitted, custom.*]}
  - id: orders
    kind: kafka
    producers: [/orders]
    quota: {per_minute: 2}
    events:
      - {type: form.submitted, when: "type == 'com.acme.quote'", email: data.buyer.mail, data: {form: "'demo-request'", company.employees: data.size}}
      - {type: custom.order, when: "type == 'com.acme.order'", email: data.buyer.mail}
"""
STRUCTURED = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
Sent = tuple[bytes | None, list[tuple[str, bytes]]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The example configuration, with a source of `kind: kafka`."""
    directory = tmp_path / "config"
    shutil.copytree(package_files.examples(), directory)
    file = directory / "sources.yaml"
    file.write_text(file.read_text() + SOURCE)
    return directory


@pytest.fixture
async def system(tmp_path: Path, backends: Backends, config: Path) -> AsyncIterator[OpenedSystem]:
    async with opened(tmp_path / "data", backends, config=config) as one:
        yield one


def request(name: str, **changes: Any) -> Sent:
    """Return a structured event: the demo request of a person."""
    data = {"email": f"{name}@acme.example", "name": name, "employees": 400, "form": "demo-request"}
    event = {"specversion": "1.0", "id": name, "source": "/shop", "type": "form.submitted", "data": data, **changes}
    return json.dumps(event).encode(), STRUCTURED


def binary(name: str) -> Sent:
    """Return the same event in binary mode."""
    event = json.loads(request(name)[0] or b"")
    headers = [(f"ce_{field}", str(event[field]).encode()) for field in ("specversion", "id", "source", "type")]
    return json.dumps(event["data"]).encode(), [*headers, ("content-type", b"application/json")]


async def write(system: OpenedSystem, *records: Sent, settle: bool = True) -> None:
    """Write records as another program does, all into one partition."""
    assert system.place is not None
    settings = system.place.settings()
    producer = AIOKafkaProducer(**connection_options.kafka_options(settings))
    await producer.start()
    try:
        for value, headers in records:
            await producer.send_and_wait(
                f"{system.place.prefix}{INBOUND}", value, key=b"k", partition=0, headers=headers
            )
    finally:
        await producer.stop()
    if settle:
        await settled(system)


async def settled(system: OpenedSystem) -> None:
    assert system.place is not None
    assert isinstance(system.system, Distributed)
    for place, end in (await kafka_admin.ends(system.place.settings())).items():
        for log in system.system.logs:
            log.note(place, end)
    await system.system.settle()


async def appended(system: OpenedSystem, topic: str = EVENTS) -> int:
    assert system.place is not None
    ends = await kafka_admin.ends(system.place.settings())
    return sum(end - system.place.first_positions[at] for at, end in ends.items() if at[0] == topic)


async def letters(system: OpenedSystem, source: str = "") -> Sequence[dict[str, Any]]:
    answer = await system.client.get("/v1/deadletters", params={"source": source} if source else {})
    return list(answer.json()["items"])


async def test_events_of_both_modes_become_leads_and_are_counted(system: OpenedSystem) -> None:
    await write(system, request("ann"), binary("ben"), request("ann"))
    assert [(await system.lead(name))["status"] for name in ("ann", "ben")] == ["assigned", "assigned"]
    assert await letters(system) == []
    [shop] = [one for one in (await system.client.get("/v1/sources")).json()["items"] if one["id"] == "shop"]
    assert (shop["kind"], shop["accepted"], shop["refused"]) == ("kafka", 3, {})


async def test_record_that_is_no_event_stops_none_of_the_records_after_it(system: OpenedSystem) -> None:
    bad: list[Sent] = [
        (None, []),
        (b"\xff", []),
        (b"{}", STRUCTURED),
        (b"x" * 900_000, STRUCTURED),
        (b"<x/>", [*binary("eve")[1][:-1], ("content-type", b"text/xml")]),
        request("eve", source="/unknown"),
        request("eve", type="touch.recorded"),
        request("eve", data={"email": "no address"}),
    ]
    await write(system, *(bad * 3), request("ann"))
    assert (await system.lead("ann"))["status"] == "assigned"
    kept = await letters(system)
    assert [one["consumer"] for one in kept] == ["gateway"] * 24
    assert all(one["origin"].startswith("inbound/0/") for one in kept)
    assert len(await letters(system, "shop")) == 6
    assert len(await letters(system, "inbound")) == 18
    assert await appended(system) == 1
    sources = {one["id"]: one for one in (await system.client.get("/v1/sources")).json()["items"]}
    assert (sources["inbound"]["kind"], sum(sources["inbound"]["refused"].values())) == ("kafka", 18)
    assert sources["shop"]["refused"] == {"forbidden": 3, "unmapped": 3}
    ready = (await system.client.get("/readyz")).json()
    assert (ready["status"], [line for line in ready["warnings"] if "inbound" in line]) == ("ready", [])


async def test_failure_of_ours_concerns_one_record(system: OpenedSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = events.parse_events

    def broken(body: bytes, *given: Any, **named: Any) -> Any:
        if b"eve" in body:
            raise RuntimeError
        return parse(body, *given, **named)

    monkeypatch.setattr(parsing, "parse_events", broken)
    await write(system, *([request("eve")] * 15), request("ann"))
    assert (await system.lead("ann"))["status"] == "assigned"
    assert {one["error"].partition(" ")[0] for one in await letters(system, "shop")} == {"RuntimeError"}
    assert len(await letters(system, "shop")) == 15


async def test_unit_that_fails_at_its_end_is_repeated_as_a_whole(
    system: OpenedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, failures = source_counts.store, 2

    def fail_twice(taken: Any) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise RuntimeError
        return store(taken)

    monkeypatch.setattr(inbound, "store", fail_twice)
    await write(system, *(request(f"p{n}") for n in range(5)), (b"{}", STRUCTURED))
    assert (await appended(system), len(await letters(system))) == (5, 1)


async def test_another_process_goes_on_after_the_last_record(
    system: OpenedSystem, tmp_path: Path, config: Path
) -> None:
    assert system.place is not None
    await write(system, request("ann"), (b"{}", STRUCTURED))
    settings = system.place.settings(data_dir=tmp_path / "other", config_dir=config, admin_key=ADMIN)
    other = await open_harness(settings, HandClock(), {"inbox": InboxChannel(lambda _: None)}, EVERYTHING)
    try:
        async with client_of(other.system) as client:
            again = OpenedSystem(other.system, client, system.clock, tmp_path, [], system.place)
            await settled(again)
            await write(again, request("ben"))
            await settled(system)
    finally:
        await other.close()
    assert (await appended(system), len(await letters(system))) == (2, 1)


async def test_dead_letter_is_retried_once_its_producer_is_named(system: OpenedSystem, config: Path) -> None:
    await write(system, request("ann", source="/till"), binary("ben"))
    [letter] = await letters(system)
    assert "`kind: kafka`" in letter["error"]
    file = config / "sources.yaml"
    file.write_text(file.read_text().replace("[/shop]", "[/shop, /till]"))
    assert isinstance(system.system, Distributed)
    await apply(system.system, config)
    await settled(system)
    page = (await system.client.post("/v1/deadletters/retry?source=inbound")).json()
    await settled(system)
    assert (page["retried"], page["events"], page["failed"]) == (1, 1, 0)
    assert (await system.lead("ann"))["status"] == "assigned"


async def test_lag_is_measured_and_a_gateway_outside_its_group_stays_ready(system: OpenedSystem) -> None:
    await write(system, request("ann"), request("ben"), settle=False)
    assert isinstance(system.system, Distributed)
    assert system.place is not None
    [log] = [log for log in system.system.logs if log.service == "gateway"]
    log.note((INBOUND, 0), (await kafka_admin.ends(system.place.settings()))[INBOUND, 0])
    await system.system.runners["runtime.gauges"].step()
    registry = system.system.resources.telemetry.registry
    assert registry.get_sample_value("consumer_lag", {"consumer": "gateway", "topic": INBOUND}) == 2
    log.joined = False
    ready = (await system.client.get("/readyz")).json()
    assert ready["status"] == "ready"
    assert "gateway.kafka: not in its consumer group yet" in ready["warnings"]


def order(name: str, type: str = "com.acme.order") -> Sent:
    """Return an event of another program, in its own terms."""
    return request(name, source="/orders", type=type, data={"buyer": {"mail": f"{name}@acme.example"}, "size": 400})


async def source(system: OpenedSystem, id: str) -> dict[str, Any]:
    [one] = [one for one in (await system.client.get("/v1/sources")).json()["items"] if one["id"] == id]
    return dict(one)


async def test_events_in_terms_of_their_producer_are_mapped(system: OpenedSystem) -> None:
    quote = order("ann", "com.acme.quote")
    body = base64.b64encode(quote[0] or b"").decode()
    tried = (await system.client.post("/v1/sources/orders/try", json={"body": body})).json()
    assert [event["email"] for event in tried["events"]] == ["ann@acme.example"]
    await write(system, quote, order("ben", "com.acme.refund"), quote)
    assert (await system.lead("ann"))["status"] == "assigned"
    unmatched = (await system.client.get("/v1/deadletters", params={"source": "orders", "state": "unmatched"})).json()
    [letter] = unmatched["items"]
    assert (letter["origin"].partition("/")[0], await letters(system)) == ("inbound", [])
    orders = await source(system, "orders")
    assert (orders["accepted"], orders["refused"]) == (2, {"nothing matched": 1})
    assert isinstance(system.system, Distributed)
    registry = system.system.resources.telemetry.registry
    assert registry.get_sample_value("events_accepted_total", {"source": "orders"}) == 2
    retried = await system.client.post(f"/v1/deadletters/{letter['id']}/retry")
    assert (retried.status_code, "no entry" in retried.json()["detail"]) == (422, True)


async def test_events_beyond_the_quota_wait_for_a_person_but_no_request(system: OpenedSystem) -> None:
    await write(system, *(order(f"p{n}") for n in range(5)), order("p4"), order("ann", "com.acme.quote"))
    assert (await system.lead("ann"))["status"] == "assigned"
    assert (await source(system, "orders"))["refused"] == {"quarantined": 4}
    kept = (await system.client.get("/v1/quarantine")).json()["items"]
    assert sorted(one["person"] for one in kept) == [f"p{n}@acme.example" for n in (2, 3, 4)]
    released = (await system.client.post("/v1/quarantine/orders/release")).json()
    await settled(system)
    assert (released["released"], await appended(system)) == (3, 6)
    assert (await system.lead("p4"))["status"]


async def test_verify_waits_for_the_records_of_other_programs(
    system: OpenedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "WAIT_SECONDS", 0.5)
    await write(system, request("ann"), settle=False)
    report = (await system.client.post("/v1/verify")).json()
    assert (report["ok"], report["behind"]) == (
        False,
        ["gateway has not read all of inbound: 1 records to go in 1 of 2 partitions"],
    )
    monkeypatch.setattr(drain, "WAIT_SECONDS", 30)
    await settled(system)
    system.clock.advance(minutes=1)
    report = (await system.client.post("/v1/verify")).json()
    assert (report["ok"], report["behind"], report["judged"]) == (True, [], 1)


async def write_in_transactions(system: OpenedSystem, *transactions: tuple[Sent, bool]) -> None:
    """Write each record in a transaction of its own, and commit or abort it."""
    assert system.place is not None
    options = connection_options.kafka_options(system.place.settings())
    producer = AIOKafkaProducer(**options, transactional_id=f"{system.place.prefix}shop")
    await producer.start()
    try:
        for (value, headers), commits in transactions:
            await producer.begin_transaction()
            topic = f"{system.place.prefix}{INBOUND}"
            await producer.send_and_wait(topic, value, key=b"k", partition=0, headers=headers)
            await (producer.commit_transaction() if commits else producer.abort_transaction())
    finally:
        await producer.stop()


async def test_aborted_transaction_has_no_effect_and_its_marks_count_as_read(
    system: OpenedSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_in_transactions(system, (request("eve"), False), (request("ann"), True), (request("bob"), False))
    assert isinstance(system.system, Distributed)
    monkeypatch.setattr(drain, "WAIT_SECONDS", 20.0)
    waiting = asyncio.create_task(drain.wait(system.system.resources, KafkaEnds(system.system.resources)))
    while not waiting.done():
        await system.system.settle()
        await asyncio.sleep(0.01)
    assert (waiting.result(), await letters(system), await appended(system)) == ((), [], 1)
    assert (await system.lead("ann"))["status"] == "assigned"
