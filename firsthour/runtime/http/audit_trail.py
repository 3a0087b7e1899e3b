"""Keeps the audit log of requests: each request with a key or session that may change something, and each that is refused.

The record is stored before the answer is sent. A command that may have an `Idempotency-Key` stores it in its own unit, so that
neither exists without the other. While the database is away, records wait in memory.
"""

import re
from collections import Counter, deque
from typing import Any, Final

import structlog
from fastapi import Request

from firsthour.runtime.clock import Clock
from firsthour.runtime.http.auth import SENDER
from firsthour.runtime.http.middleware import App, Message, Receive, Scope, Send, request_id_of
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.storage import audit_log
from firsthour.runtime.storage.audit_log import AuditRecord
from firsthour.runtime.storage.unit import Unit, Units

WAITING_MAX: Final = 1_000
REFUSALS_PER_MINUTE: Final = 30
"""Refused requests of one key for one action that are recorded. A key that is out of order cannot fill the table."""
CREATED: Final = frozenset({"keys", "console-links"})
"""Collections in which a POST creates something."""
CHECKS: Final = frozenset({"verify", "doctor", "sources.try", "agreement.check"})
"""Actions that only read. They must also work where nothing can be written."""
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_STORED: Final = "firsthour.audited"
_TARGET: Final = "firsthour.target"
_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}", re.ASCII)

_log = structlog.get_logger(__name__)


def name_target(request: Request, target: str) -> None:
    """Set the target of an action that its path does not name."""
    request.scope[_TARGET] = target


def mark_stored(scope: Scope) -> None:
    """Tell the trail that the action of this request is in the audit log already, or is the replay of one that is."""
    scope[_STORED] = True


def record_of(scope: Scope, status: int) -> AuditRecord | None:
    """Return the record of a request with this status. None: it only read, or its sender is not known."""
    sender = scope.get(SENDER)
    parts = [part for part in str(getattr(scope.get("route"), "path", "")).split("/") if part and part != "v1"]
    action = _action(scope["method"], parts)
    only_reads = scope["method"] in _READS or action in CHECKS
    if not isinstance(sender, Principal) or (only_reads and status != 403):
        return None
    return AuditRecord(
        actor=sender.actor,
        role=sender.role,
        via=sender.id,
        action=action,
        target=_target(scope),
        status=status,
        request_id=request_id_of(scope),
    )


def _action(method: str, parts: list[str]) -> str:
    """Return the name of an action: the fixed parts of its path, such as `leads.accept`."""
    names = [part for part in parts if not part.startswith("{")]
    if method in _READS:
        names.append("read")
    elif method == "DELETE":
        names.append("delete")
    elif names[-1:] and names[-1] in CREATED:
        names.append("create")
    return ".".join(names)


def _target(scope: Scope) -> str:
    """Return the id in the path. Other text is left out: a path that was put together wrongly may hold an address."""
    named = scope.get(_TARGET)
    if named is not None:
        return str(named)
    values = [str(value) for value in scope.get("path_params", {}).values()]
    return "/".join(value if _ID.fullmatch(value) else "?" for value in values)


class AuditTrail:
    """The middleware that stores the records."""

    def __init__(self, app: App, *, units: Units, clock: Clock) -> None:
        self._app, self._units, self._clock = app, units, clock
        self._waiting: deque[dict[str, Any]] = deque(maxlen=WAITING_MAX)
        self._refusals, self._minute = Counter[tuple[str, str]](), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def out(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                await self._note(scope, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, out)
        except Exception:
            if not begun:
                await self._note(scope, 500)
            raise

    async def _note(self, scope: Scope, status: int) -> None:
        record = None if scope.get(_STORED) else record_of(scope, status)
        if record is None or not self._is_counted(record):
            return
        self._waiting.append(audit_log.row_of(record, self._clock))
        if status == 503:  # the database is away: the next record takes this one along
            return
        rows = list(self._waiting)
        self._waiting.clear()

        def work(unit: Unit) -> None:
            audit_log.store(unit.connection, rows)

        try:
            await self._units.run(work)
        except Exception as failure:  # noqa: BLE001  # the action is done, so its sender must get the answer
            self._waiting.extendleft(reversed(rows))
            _log.warning("audit records waiting", records=len(self._waiting), error_type=type(failure).__name__)

    def _is_counted(self, record: AuditRecord) -> bool:
        """Return whether a record is stored: all but refusals beyond `REFUSALS_PER_MINUTE`."""
        if record.status < 400:
            return True
        minute = int(self._clock.monotonic() // 60)
        if minute != self._minute:
            self._refusals.clear()
            self._minute = minute
        self._refusals[record.via, record.action] += 1
        return self._refusals[record.via, record.action] <= REFUSALS_PER_MINUTE
