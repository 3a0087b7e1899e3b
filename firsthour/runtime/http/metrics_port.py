"""`/metrics` on a port of its own, without a key, for a network that only the monitoring system can reach."""

import contextlib
import socket
from collections.abc import AsyncGenerator, Generator
from typing import Final

from firsthour.runtime.http import middleware
from firsthour.runtime.http.connection_limits import Limits
from firsthour.runtime.http.middleware import App, Receive, Scope, Send
from firsthour.runtime.http.problem import Problem, problem_response
from firsthour.runtime.http.server import PortTakenError, listen, port_of, serving
from firsthour.runtime.observability import metrics
from firsthour.runtime.observability.metrics import Telemetry
from firsthour.runtime.settings import PREFIX

PATH: Final = "/metrics"
LIMITS: Final = Limits(connections_max=50)


@contextlib.contextmanager
def listening(host: str, port: int | None, front: socket.socket) -> Generator[socket.socket | None, None, None]:
    """Listen on `port` inside the block. None: metrics have no port of their own. Raises `PortTakenError`."""
    if port is None:
        yield None
        return
    try:
        if port == port_of(front):
            raise PortTakenError
        bound = listen(host, port)
    except PortTakenError:
        raise PortTakenError(
            f"{PREFIX}METRICS_PORT: port {port} of {host} cannot be listened on; choose a free port"
        ) from None
    with contextlib.closing(bound):
        yield bound


@contextlib.asynccontextmanager
async def answering(telemetry: Telemetry, bound: socket.socket | None) -> AsyncGenerator[None, None]:
    """Answer requests for metrics on this socket inside the block. `bound`: None: do nothing."""
    if bound is None:
        yield
        return
    async with serving(exposition(telemetry), bound, LIMITS):
        yield


def exposition(telemetry: Telemetry) -> App:
    """Return an application that answers only `GET /metrics`."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == PATH and scope["method"] in ("GET", "HEAD"):
            headers = {"Content-Type": metrics.CONTENT_TYPE, "Cache-Control": "no-store"}
            await middleware.send_response(send, 200, headers, telemetry.text())
        else:
            await middleware.send_response(
                send, *problem_response(Problem(404, "", f"This port only answers {PATH}."), "")
            )

    return app
