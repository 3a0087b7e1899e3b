"""The parsers that the fuzzer calls. As a program: the fuzzer of one of them, with the errors that it may raise."""

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

CPU_SECONDS_MAX: Final = 5.0
_PROGRAM: Final = ("services", "firsthour", "schemas", "defusedxml", "python_multipart")
_IMPORT_OF_THE_FUZZER: Final = ("__import__",)
"""The fuzzer imports a module now and then. It fails in the constructor of a named tuple, whose code has no built-ins."""
NOW: Final = datetime(2026, 12, 1, 9, tzinfo=UTC)
_FORM: Final = b"email=ann%40acme.example&utm_source=x&company=%C3%9Cmlaut&custom%5Ba%5D%5B%5D=1"
_PART: Final = b'--b\r\nContent-Disposition: form-data; name="rawRequest"\r\n\r\n{"a":1}\r\n--b--\r\n'
_XML: Final = b'<soap:Envelope xmlns:soap="s"><Id>1</Id><a b="c">x<![CDATA[y]]></a></soap:Envelope>'
_CSV: Final = 'Email;Firma\nann@acme.example;"Ü""mlaut"\n'.encode("utf-16")
_SEGMENT: Final = b'{"batch":[{"type":"track","event":"a","userId":"ann@acme.example","messageId":"1","sentAt":"2026-12-01T09:00:00Z"}]}'
_EVENT: Final = b'{"specversion":"1.0","id":"1","source":"crm","type":"page.viewed","time":"2026-12-01T09:00:00Z","data":{"email":"a@b.de"}}'
_HEADERS: Final = b"t=1796115600,v1=ab,v1=cd\nv1,YWI= v1a,YWI=\nBasic YW5uOmE=\n1796115600000"


class SlowInputError(Exception):
    """Raised for an input that takes a parser too long."""


def _json(data: bytes) -> None:
    _module("services.gateway.request_bodies").parse_json(data)


def _form(data: bytes) -> None:
    bodies = _module("services.gateway.webhook_bodies")
    bodies.parse_body(data, "application/x-www-form-urlencoded", {}, None)


def _multipart(data: bytes) -> None:
    bodies = _module("services.gateway.webhook_bodies")
    bodies.parse_body(data, "multipart/form-data", {b"boundary": b"b"}, None)


def _xml(data: bytes) -> None:
    _module("services.gateway.domain.xml_body").parse_xml(data)


def _content_type(data: bytes) -> None:
    _module("services.gateway.request_bodies").parse_content_type(data)


def _events(data: bytes) -> None:
    events = _module("services.gateway.intake.events")
    parsed = events.parse_events(data, "application/json", {}, None, key="k", now=NOW)
    for _ in parsed:
        pass


def _segment(data: bytes) -> None:
    segment, request = _module("services.gateway.intake.segment"), _module("services.gateway.intake.request")
    first, rest = data[:1], data[1:]
    headers = {b"content-encoding": b"gzip"} if first == b"z" else {}
    value = segment.parsed_body(request.IncomingRequest("/v1/batch", headers, rest, "", False))
    calls = value.get("batch") if isinstance(value, dict) else None
    for number, call in enumerate(calls if isinstance(calls, list) else []):
        with suppress(_module("services.gateway.domain.coerce").UnmappableError):
            segment.parse_call(call, f"{number}", "k", NOW)


def _proofs(data: bytes) -> None:
    """No input is proven: the secrets are not in it."""
    values = data.split(b"\n")
    names = (b"x-signature", b"webhook-signature", b"authorization", b"x-time", b"webhook-timestamp", b"webhook-id")
    headers = {name: values[n % len(values)] for n, name in enumerate(names)}
    request = _module("services.gateway.domain.verification.request").SignedRequest(headers, data)
    for proof in _all_proofs():
        assert not proof.check(request, NOW).holds


def _csv(data: bytes) -> None:
    formats, rows = (
        _module("firsthour.operations.importing.csv_format"),
        _module("firsthour.operations.importing.csv_rows"),
    )
    file = Path(tempfile.gettempdir()) / f"firsthour-fuzz-{os.getpid()}.csv"
    file.write_bytes(data)
    for _ in rows.records(formats.inspect(file)):
        pass


@dataclass(frozen=True)
class FuzzTarget:
    """A parser. `errors`: the names of the errors that it may raise; `samples`: inputs to begin with."""

    parse: Callable[[bytes], None]
    samples: tuple[bytes, ...]
    errors: tuple[str, ...] = (
        "services.gateway.domain.coerce.UnmappableError",
        "firsthour.runtime.http.problem.Problem",
    )


TARGETS: Final = {
    "json": FuzzTarget(_json, (_EVENT, b'{"a":[1e5,-0,"\\ud83d\\ude00",null]}')),
    "form": FuzzTarget(_form, (_FORM,)),
    "multipart": FuzzTarget(_multipart, (_PART,)),
    "xml": FuzzTarget(_xml, (_XML,)),
    "content-type": FuzzTarget(_content_type, (b'multipart/form-data; boundary="b"; charset=utf-8',)),
    "events": FuzzTarget(_events, (_EVENT, b"[" + _EVENT + b"]")),
    "segment": FuzzTarget(_segment, (b" " + _SEGMENT, b"z\x1f\x8b\x08")),
    "proofs": FuzzTarget(_proofs, (_HEADERS,)),
    "csv": FuzzTarget(
        _csv, (_CSV, b"email,name\na@b.de,Ann\n"), ("firsthour.operations.importing.csv_format.UnreadableFileError",)
    ),
}


@cache
def _all_proofs() -> tuple[Any, ...]:
    cases = _module("tests.unit.gateway.test_verification").CASES
    return tuple(case.proof for case in cases.values())


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _error(name: str) -> type[Exception]:
    module, _, error = name.rpartition(".")
    found: type[Exception] = getattr(_module(module), error)
    return found


def parse_once(parse: Callable[[bytes], None], allowed: tuple[type[Exception], ...], data: bytes) -> None:
    """Call a parser. Raises every error but those that it may raise, and `SlowInputError`."""
    begun = time.process_time()
    try:
        with suppress(*allowed):
            parse(data)
    except KeyError as error:
        if error.args != _IMPORT_OF_THE_FUZZER:
            raise
    if time.process_time() - begun > CPU_SECONDS_MAX:
        raise SlowInputError(f"an input took more than {CPU_SECONDS_MAX} s of CPU")


def fuzz(name: str, errors: Sequence[str], options: Sequence[str]) -> None:
    """Call a parser with inputs until the time is over, or one makes it fail. `options`: those of libFuzzer."""
    atheris = _module("atheris")
    target = TARGETS[name]
    with atheris.instrument_imports(include=_PROGRAM):  # what the parser imports reports which branches it took
        allowed = tuple(_error(error) for error in errors)
        for sample in target.samples:
            with suppress(*allowed):
                target.parse(sample)

    atheris.Setup([sys.argv[0], *options], partial(parse_once, target.parse, allowed))
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv[1], [error for error in sys.argv[2].split(",") if error], sys.argv[3:])
