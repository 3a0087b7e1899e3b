"""Log lines contain no personal data, whatever is logged."""

import asyncio
import io
import json
import logging
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from firsthour.runtime.observability.logging import FIELDS, configure_logging
from services.gateway import request_bodies
from services.gateway.domain.coerce import UnmappableError

CANARY = "Kanarienvogel"
MAIL = f"{CANARY.lower()}@example.com"


pytestmark = pytest.mark.usefixtures("restored_logging")


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
    fields: dict[str, Any] = json.loads(line)
    return fields


def hides_the_canary(stream: io.StringIO) -> bool:
    text = stream.getvalue()
    return bool(text) and CANARY.lower() not in text.lower()


def fail() -> None:
    raise ValueError(f"no such person: {CANARY} <{MAIL}>")


def test_line_has_time_level_event_and_fields(lines: io.StringIO) -> None:
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
    assert hides_the_canary(lines)


def test_exception_is_logged_with_types_and_places_only(out: io.StringIO) -> None:
    try:
        try:
            fail()
        except ValueError as error:
            raise KeyError(CANARY) from error
    except KeyError:
        structlog.get_logger().exception("handler failed")
    assert hides_the_canary(out)
    assert "KeyError" in out.getvalue()
    assert "ValueError" in out.getvalue()
    assert "runtime/observability/test_logging.py" in out.getvalue()


def test_exception_passed_as_a_value_is_logged(lines: io.StringIO) -> None:
    with pytest.raises(ValueError, match=CANARY) as caught:
        fail()
    structlog.get_logger().error("tick failed", exc_info=caught.value)
    line = only(lines)
    assert line["error"] == "ValueError"
    assert line["where"].endswith(" fail")


def test_exception_group_is_logged_with_the_types_in_it(lines: io.StringIO) -> None:
    group = ExceptionGroup(CANARY, [ValueError(CANARY), OSError(CANARY)])
    structlog.get_logger().error("failed", exc_info=group)
    assert only(lines)["errors"] == ["ValueError", "OSError"]
    assert hides_the_canary(lines)


def test_addresses_and_phone_numbers_in_listed_fields_are_removed(out: io.StringIO) -> None:
    structlog.get_logger().info(f"mail to {MAIL}", why=f"to {MAIL}, or +49 30 901820", lead={"n": CANARY}, rep=[MAIL])
    assert hides_the_canary(out)
    assert "901820" not in out.getvalue()


def test_configuration_problem_is_logged_with_its_place(lines: io.StringIO) -> None:
    structlog.get_logger().error("configuration refused", problem="team.yaml:3:9: no such rep 'ana'\nteam.yaml:4:1: x")
    assert only(lines)["problem"] == "team.yaml:3:9: no such rep 'ana' team.yaml:4:1: x"


def test_long_value_is_shortened(lines: io.StringIO) -> None:
    structlog.get_logger().error("x", why="a " * 100_000)
    assert len(lines.getvalue()) < 2_000


def test_objects_are_logged_as_their_type(out: io.StringIO) -> None:
    structlog.get_logger().info("x", lead=SimpleNamespace(name=CANARY), events=[SimpleNamespace(name=CANARY)])
    assert hides_the_canary(out)


def test_context_fields_that_are_not_listed_are_withheld(out: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r-1", visitor=CANARY):
        structlog.get_logger().info("x")
    assert "r-1" in out.getvalue()
    assert hides_the_canary(out)


def test_arguments_of_a_library_line_are_left_out(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("cannot send to %s", CANARY)
    assert only(lines)["event"] == "cannot send to %s"
    assert hides_the_canary(lines)


def test_library_line_without_arguments_is_withheld_with_its_place(lines: io.StringIO) -> None:
    logging.getLogger("some.library").warning("cannot send to " + CANARY)
    line = only(lines)
    assert "test_logging.py" in line["where"]
    assert hides_the_canary(lines)


def test_exception_of_a_library_is_logged_by_type(out: io.StringIO) -> None:
    try:
        fail()
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")
    assert hides_the_canary(out)
    assert "Exception in ASGI application" in out.getvalue()


def test_malformed_library_line_is_not_printed_elsewhere(out: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("uvicorn.error").warning("%d %d", *[CANARY])
    assert hides_the_canary(out)
    assert CANARY not in "".join(capfd.readouterr())


def test_malformed_form_writes_no_line(lines: io.StringIO) -> None:
    with pytest.raises(UnmappableError):
        request_bodies.parse_form(b"--y", request_bodies.MULTIPART, {b"boundary": b"x"})
    assert lines.getvalue() == ""


def test_server_lines_are_logged_and_access_lines_are_not(lines: io.StringIO) -> None:
    logging.getLogger("uvicorn.access").info('%s - "%s %s"', "1.2.3.4", "GET", f"/v1/leads?email={MAIL}")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7)
    assert only(lines)["event"] == "Started server process [7]"


def test_handlers_installed_by_a_library_are_removed() -> None:
    theirs = io.StringIO()
    logger = logging.getLogger("chatty.library")
    logger.addHandler(logging.StreamHandler(theirs))
    logger.propagate = False
    configure_logging("json", ours := io.StringIO())
    logger.warning("hello %s", CANARY)
    assert theirs.getvalue() == ""
    assert only(ours)["logger"] == "chatty.library"


def test_exception_of_an_unawaited_task_is_logged_without_its_message(out: io.StringIO) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.call_exception_handler(
            {"message": "Task exception was never retrieved", "exception": ValueError(CANARY), "note": CANARY}
        )
    finally:
        loop.close()
    assert "never retrieved" in out.getvalue()
    assert hides_the_canary(out)


def test_unhandled_exception_is_logged_without_its_message(out: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        fail()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert out.getvalue().count("exception uncaught") == 2
    assert hides_the_canary(out)
    assert CANARY not in "".join(capfd.readouterr())


def test_control_characters_cannot_forge_a_line(out: io.StringIO) -> None:
    structlog.get_logger().info("x", source='a\n{"level": "critical"}\x1b[2J\u2028\ud800')
    assert len(out.getvalue().splitlines()) == 1
    assert "\x1b[2J" not in out.getvalue()


@given(fields=st.dictionaries(st.text(max_size=20).filter(lambda n: n not in FIELDS), st.text(), max_size=5))
def test_no_unlisted_field_is_written(fields: dict[str, str]) -> None:
    configure_logging("json", stream := io.StringIO())
    marked = {name: CANARY + value for name, value in fields.items() if name not in ("exc_info", "stack_info")}
    structlog.get_logger().bind(**marked).info("x", lead="l")
    assert set(only(stream)) <= {"at", "level", "event", "lead", "withheld"}
    assert hides_the_canary(stream)
