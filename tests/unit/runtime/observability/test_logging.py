"""Log lines never hold personal data; metrics never hold labels without bound."""

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from firsthour.runtime.observability.logging import FIELDS, configure_logging
from firsthour.runtime.observability.metrics import Telemetry
from services.gateway import request_bodies
from services.gateway.domain.coerce import UnmappableError

CANARY = "Kanarienvogel"
MAIL = f"{CANARY.lower()}@example.com"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The process's logging as it was, after each test."""
    root = logging.root
    kept = root.handlers[:], root.level, logging.raiseExceptions
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers[:], root.level, logging.raiseExceptions = kept
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    for name in ("uvicorn.access", "python_multipart.multipart"):
        logging.getLogger(name).disabled = False
    structlog.reset_defaults()


@pytest.fixture(params=["json", "console"])
def out(request: pytest.FixtureRequest) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(request.param, stream)
    return stream


@pytest.fixture
def lines() -> io.StringIO:
    stream = io.StringIO()
    configure_logging("json", stream)
    return stream


def only(stream: io.StringIO) -> dict[str, Any]:
    (line,) = stream.getvalue().splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def silent_about_the_canary(stream: io.StringIO) -> bool:
    said = stream.getvalue()
    return bool(said) and CANARY.lower() not in said.lower()


def fail() -> None:
    raise ValueError(f"no such person: {CANARY} <{MAIL}>")


def test_a_line_says_when_how_grave_what_and_its_fields(lines: io.StringIO) -> None:
    structlog.get_logger("services.x").warning("batch failed", consumer="router", events=3)
    line = only(lines)
    assert line["level"] == "warning"
    assert line["event"] == "batch failed"
    assert (line["consumer"], line["events"]) == ("router", 3)
    assert line["at"].endswith("Z")


def test_fields_that_are_not_listed_are_withheld_and_counted(lines: io.StringIO) -> None:
    structlog.get_logger().info("scored", lead="l1", email=MAIL, name=CANARY)
    line = only(lines)
    assert line["lead"] == "l1"
    assert line["withheld"] == 2
    assert silent_about_the_canary(lines)


def test_an_exception_is_told_by_type_and_place_alone(out: io.StringIO) -> None:
    try:
        try:
            fail()
        except ValueError as error:
            raise KeyError(CANARY) from error
    except KeyError:
        structlog.get_logger().exception("handler failed")
    assert silent_about_the_canary(out)
    assert "KeyError" in out.getvalue()
    assert "ValueError" in out.getvalue()
    assert "runtime/observability/test_logging.py" in out.getvalue()


def test_an_exception_may_be_given_as_a_value(lines: io.StringIO) -> None:
    with pytest.raises(ValueError, match=CANARY) as caught:
        fail()
    structlog.get_logger().error("tick failed", exc_info=caught.value)
    line = only(lines)
    assert line["error"] == "ValueError"
    assert line["where"].endswith(" fail")


def test_a_group_names_the_types_within(lines: io.StringIO) -> None:
    group = ExceptionGroup(CANARY, [ValueError(CANARY), OSError(CANARY)])
    structlog.get_logger().error("failed", exc_info=group)
    assert only(lines)["errors"] == ["ValueError", "OSError"]
    assert silent_about_the_canary(lines)


def test_listed_fields_are_searched_for_addresses_and_numbers_too(out: io.StringIO) -> None:
    structlog.get_logger().info(f"mail to {MAIL}", why=f"to {MAIL}, or +49 30 901820", lead={"n": CANARY}, rep=[MAIL])
    assert silent_about_the_canary(out)
    assert "901820" not in out.getvalue()


def test_a_mistake_in_a_configuration_file_is_told_with_its_place(lines: io.StringIO) -> None:
    structlog.get_logger().error("configuration refused", problem="team.yaml:3:9: no such rep 'ana'\nteam.yaml:4:1: x")
    assert only(lines)["problem"] == "team.yaml:3:9: no such rep 'ana' team.yaml:4:1: x"


def test_no_value_is_endless(lines: io.StringIO) -> None:
    structlog.get_logger().error("x", why="a " * 100_000)
    assert len(lines.getvalue()) < 2_000


def test_objects_are_named_by_their_type(out: io.StringIO) -> None:
    structlog.get_logger().info("x", lead=SimpleNamespace(name=CANARY), events=[SimpleNamespace(name=CANARY)])
    assert silent_about_the_canary(out)


def test_context_is_held_to_the_same_list(out: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-1", visitor=CANARY):
        structlog.get_logger().info("x")
    assert "r-1" in out.getvalue()
    assert silent_about_the_canary(out)


def test_a_librarys_arguments_are_left_out(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("cannot send to %s", CANARY)
    assert only(lines)["event"] == "cannot send to %s"
    assert silent_about_the_canary(lines)


def test_a_librarys_finished_text_is_withheld_and_its_place_named(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("cannot send to " + CANARY)
    line = only(lines)
    assert "test_logging.py" in line["where"]
    assert silent_about_the_canary(lines)


def test_a_librarys_exception_is_told_by_type(out: io.StringIO) -> None:
    try:
        fail()
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
    assert silent_about_the_canary(out)
    assert "Exception in ASGI application" in out.getvalue()


def test_a_malformed_library_line_prints_nothing_elsewhere(out: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("uvicorn.error").warning("%d %d", *[CANARY])
    assert silent_about_the_canary(out)
    assert CANARY not in "".join(capfd.readouterr())


def test_malformed_forms_of_anybody_fill_no_log(lines: io.StringIO) -> None:
    with pytest.raises(UnmappableError):
        request_bodies.parse_form(b"--y", request_bodies.MULTIPART, {b"boundary": b"x"})
    assert lines.getvalue() == ""


def test_the_servers_own_lines_are_readable_and_its_access_lines_absent(lines: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info('%s - "%s %s"', "1.2.3.4", "GET", f"/v1/leads?email={MAIL}")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    assert only(lines)["event"] == "Started server process [7]"


def test_handlers_that_a_library_installed_are_taken_away() -> None:
    theirs = io.StringIO()
    logger = logging.getLogger("chatty.library")
    logger.addHandler(logging.StreamHandler(theirs))
    logger.propagate = False
    configure_logging("json", ours := io.StringIO())
    logger.warning("hello %s", CANARY)
    assert theirs.getvalue() == ""
    assert only(ours)["logger"] == "chatty.library"


def test_a_task_nobody_waited_for_is_told_without_its_message(out: io.StringIO) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.call_exception_handler(
            {"message": "Task exception was never retrieved", "exception": ValueError(CANARY), "note": CANARY}
        )
    finally:
        loop.close()
    assert "never retrieved" in out.getvalue()
    assert silent_about_the_canary(out)


def test_what_ends_a_thread_or_the_process_is_told_without_its_message(
    out: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        fail()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert out.getvalue().count("uncaught") == 2
    assert silent_about_the_canary(out)
    assert CANARY not in "".join(capfd.readouterr())


def test_nobody_can_forge_a_line(out: io.StringIO) -> None:
    structlog.get_logger().info("x", source='a\n{"level": "critical"}\x1b[2J\u2028\ud800')
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b[2J" not in out.getvalue()


@given(fields=st.dictionaries(st.text(max_size=20).filter(lambda n: n not in FIELDS), st.text(), max_size=5))
def test_no_field_outside_the_list_leaves_a_trace(fields: dict[str, str]) -> None:
    configure_logging("json", stream := io.StringIO())
    marked = {name: CANARY + value for name, value in fields.items() if name not in ("exc_info", "stack_info")}
    structlog.get_logger().bind(**marked).info("x", lead="l")
    assert set(only(stream)) <= {"at", "level", "event", "lead", "withheld"}
    assert silent_about_the_canary(stream)


# --- metrics ---------------------------------------------------------------------------------------------------


def test_every_metric_shows_what_was_told() -> None:
    telemetry = Telemetry()
    telemetry.answered("GET", "/v1/leads/{id}", 200, 0.003)
    telemetry.events_accepted.labels("website").inc(2)
    telemetry.unit("scoring", 0.01, 40)
    telemetry.lag("router", "leads", 7)
    telemetry.dead_letter("router")
    telemetry.page("slack", "sent")
    telemetry.handed_over(1.5)
    telemetry.promise("met")
    telemetry.queues({"emea": 3})
    telemetry.config(False)
    said = telemetry.text().decode()
    for line in (
        'http_requests_total{method="GET",route="/v1/leads/{id}",status="200"} 1.0',
        'http_seconds_count{route="/v1/leads/{id}"} 1.0',
        'events_accepted_total{source="website"} 2.0',
        'units_seconds_count{consumer="scoring"} 1.0',
        'events_handled_total{consumer="scoring"} 40.0',
        'consumer_lag{consumer="router",topic="leads"} 7.0',
        'dead_letters_total{consumer="router"} 1.0',
        'pages_total{channel="slack",outcome="sent"} 1.0',
        'page_lateness_seconds_bucket{le="2.0"} 1.0',
        'promises_total{outcome="met"} 1.0',
        'queue_leads{pool="emea"} 3.0',
        "config_ok 0.0",
    ):
        assert line in said


def test_a_pool_whose_queue_was_emptied_says_zero() -> None:
    telemetry = Telemetry()
    telemetry.queues({"emea": 3, "us": 1})
    telemetry.queues({"us": 2})
    said = telemetry.text().decode()
    assert 'queue_leads{pool="emea"} 0.0' in said
    assert 'queue_leads{pool="us"} 2.0' in said


def test_invented_methods_share_one_label() -> None:
    telemetry = Telemetry()
    for number in range(50):
        telemetry.answered(f"M{number}", "unmatched", 405, 0.001)
    said = telemetry.text().decode()
    assert 'method="other"' in said
    assert 'method="M1"' not in said


def test_two_applications_count_apart_and_nothing_is_global() -> None:
    one, other = Telemetry(), Telemetry()
    one.dead_letter("router")
    assert 'dead_letters_total{consumer="router"}' not in other.text().decode()
    assert not any(metric.name == "dead_letters" for metric in REGISTRY.collect())
