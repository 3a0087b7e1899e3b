"""The heartbeat: a request to an address outside after each audit that worked."""

from datetime import datetime
from typing import Final

import structlog
from pydantic import SecretStr

from firsthour.runtime.http.client import Endpoint, NoAnswerError
from firsthour.runtime.observability.metrics import Telemetry

TIMEOUT_SECONDS: Final = 10.0

_log = structlog.get_logger(__name__)


class Heartbeat:
    """Sends heartbeats. Without an address it does nothing."""

    def __init__(self, url: SecretStr | None, telemetry: Telemetry) -> None:
        """`url`: a secret, because whoever knows it can send heartbeats; it is never logged."""
        self._url = None if url is None else url.get_secret_value()
        self._endpoint = None if self._url is None else Endpoint(self._url, TIMEOUT_SECONDS, idle_max=0)
        self._telemetry = telemetry
        self._failing_since: datetime | None = None
        self._why = ""

    async def send(self, real: datetime) -> None:
        """Send one. `real`: the time of the audit. A failure is a warning, and the next audit tries again."""
        if self._endpoint is None or self._url is None:
            return
        try:
            answer = await self._endpoint.get(self._url)
            why = "" if 200 <= answer.status < 300 else f"answered {answer.status}"
        except NoAnswerError as failure:
            why = str(failure)
        self._telemetry.heartbeat("failed" if why else "sent")
        if why and self._failing_since is None:
            _log.warning("heartbeat failed", why=why)
        self._why = why
        self._failing_since = (self._failing_since or real) if why else None

    def warnings(self) -> list[str]:
        """Return a warning while the address does not accept heartbeats."""
        if self._failing_since is None:
            return []
        since = f"{self._failing_since:%Y-%m-%d %H:%M} UTC"
        return [f"no heartbeat is accepted since {since} ({self._why}); check FIRSTHOUR_HEARTBEAT_URL"]
