"""The format and content of log lines. They contain no personal data and no secrets.

Three rules apply to our lines and to the lines of libraries. Only the fields in `FIELDS` are written. An exception is written
as its type and its places in code, without its message, because messages quote values. A library's line is written as its
constant template; for the loggers in `_PLAIN`, as the first line of its message.
"""

import logging
import re
import sys
import threading
from collections.abc import Iterator, MutableMapping
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import Processor

FIELDS: Final = frozenset(
    """
    at level event logger error error_type errors where through why problem
    request_id method route status seconds bytes
    service services consumer topic partition position lag limit tick events leads count attempt retry_after
    source origin event_id event_type lead rep pool epoch rule rung page channel outcome dead_letter key_id
    agreement version profile speed address host port directory file line column pid signal
    """.split()  # noqa: SIM905  # one word a line would hide the list
)
"""The fields that a line may have. `why` and `problem` are our own sentences, without values from outside."""

_PLAIN: Final = frozenset({"uvicorn", "uvicorn.error", "asyncio"})
"""Loggers whose first line contains at most addresses, ports and process ids."""

_QUIET: Final = ("uvicorn.access", "python_multipart.multipart")
"""Disabled loggers. They write paths and queries, which contain addresses and tokens, or a line for each malformed form. The
metrics count requests instead."""

_VALUE_MAX: Final = 1000  # characters
_STACK_MAX: Final = 12  # places in code, and items of a list
_CHAIN_MAX: Final = 8  # types of exceptions
_MAIL = re.compile(r"[^\s<>\"'(),;:=]+@[^\s<>\"'(),;]+")
_PHONE = re.compile(r"\+\d[\d ()./-]{6,}\d")
_LIBRARY = re.compile(r"[/\\](site-packages|lib[/\\]python[0-9.]+)[/\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

Fields = MutableMapping[str, Any]


def configure_logging(
    form: Literal["json", "console"] = "json", stream: TextIO | None = None, level: int = logging.INFO
) -> None:
    """Write all lines of this process, also those of libraries, to `stream` in this form. `stream` None: standard error.

    Run uvicorn with `log_config=None`: otherwise it installs its own handlers again.
    """
    out = stream or sys.stderr
    structlog.configure(
        processors=[*PROCESSORS, _renderer(form, out)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False  # otherwise Python prints a malformed line of a library with its values
    logging.root.handlers[:] = [_Bridge()]
    logging.root.setLevel(logging.WARNING)
    for name in list(logging.root.manager.loggerDict):
        _remove_handlers(logging.getLogger(name))
    logging.getLogger("uvicorn.error").setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).disabled = True
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def places(error: BaseException) -> list[str]:
    """Return the places of an exception in our code, and where it was raised: `services/router/store/leads.py:70 save_leads`."""
    calls = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if trace.tb_next is None or not _LIBRARY.search(code.co_filename):
            calls.append(f"{_short(code.co_filename)}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return calls[-_STACK_MAX:]


def kinds(error: BaseException) -> list[str]:
    """Return the types of an exception, of those in its group, and of its causes."""
    return [type(e).__name__ for e, _ in zip(_related(error), range(_CHAIN_MAX), strict=False)]


def _related(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                yield from _related(part)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _short(filename: str) -> str:
    return "/".join(PurePath(filename.lstrip("/")).parts[-3:])


# --- processors, in order -----------------------------------------------------------


def _exception(_: Any, __: str, line: Fields) -> Fields:
    error = line.pop("exc_info", None)
    line.pop("stack_info", None)
    if isinstance(error, tuple):
        error = error[1]
    elif error and not isinstance(error, BaseException):
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        types, stack = kinds(error), places(error)
        line["error"] = types[0]
        if types[1:]:
            line["errors"] = types[1:]
        if stack:
            line["where"], line["through"] = stack[-1], stack
    return line


def _allowed(_: Any, __: str, line: Fields) -> Fields:
    head: Fields = {name: line[name] for name in ("at", "level", "event") if name in line}
    fields: Fields = {name: _value(value) for name, value in {**head, **line}.items() if name in FIELDS}
    if len(fields) < len(line):
        fields["withheld"] = len(line) - len(fields)  # only the number: names of fields may come from outside
    return fields


def _value(value: object) -> object:
    """Return a plain value unchanged, and the name of the type of any other value, because a repr quotes the content."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _scrub(value)
    if isinstance(value, list | tuple):
        return [_scrub(item) if isinstance(item, str) else type(item).__name__ for item in value[:_STACK_MAX]]
    return type(value).__name__


def _scrub(text: str) -> str:
    """Return the text on one line and shortened. Replace mail addresses and phone numbers, as a second safeguard."""
    text = _CONTROL.sub(" ", text[: 4 * _VALUE_MAX])
    text = _PHONE.sub("[phone]", _MAIL.sub("[email]", text))
    return text if len(text) <= _VALUE_MAX else text[:_VALUE_MAX] + "..."


PROCESSORS: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    _exception,
    _allowed,
)


def _renderer(form: str, out: TextIO) -> Processor:
    if form == "console":
        return structlog.dev.ConsoleRenderer(colors=out.isatty(), timestamp_key="at")
    return structlog.processors.JSONRenderer(ensure_ascii=False)


# --- lines of libraries and of the interpreter --------------------------------------------------------------------


class _Bridge(logging.Handler):
    """Passes the lines of the standard `logging` on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        template = _template(record)
        structlog.get_logger().log(
            max(record.levelno, logging.DEBUG),
            template or "library line withheld",
            logger=record.name,
            exc_info=record.exc_info,
            **({} if template else {"where": f"{_short(record.pathname)}:{record.lineno} {record.funcName}"}),
        )


def _template(record: logging.LogRecord) -> str | None:
    """Return the part of a library's line that may be written. None: its text may contain values."""
    if record.name in _PLAIN:
        try:
            return record.getMessage().strip().split("\n")[0]
        except (TypeError, ValueError):  # the arguments do not match the template
            return None
    return record.msg if record.args and isinstance(record.msg, str) else None


def _remove_handlers(logger: logging.Logger) -> None:
    logger.handlers[:] = []
    logger.propagate = True


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    structlog.get_logger().critical("exception uncaught", exc_info=error or kind())
