"""The health checks of the image and of compose, run against a server."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.unit.deploy.harness import (
    SERVICES,
    texts_of,
)

pytestmark = pytest.mark.slow


@contextmanager
def http_server(path: str, status: int) -> Iterator[int]:
    """Serve one path on loopback with this status; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == path else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run_health_check(command: Sequence[str], port: int) -> int:
    """Return the exit code of a health check at this port instead of 8080. The proxy of the environment does not exist."""
    assert command[0] == "python"
    words = [word.replace("8080", str(port)) for word in command[1:]]
    nowhere = {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
    result = subprocess.run([sys.executable, *words], env=nowhere, capture_output=True, check=False, timeout=30)
    return result.returncode


@pytest.fixture(params=["image", "compose"])
def health(request: pytest.FixtureRequest, services: dict[str, dict[str, Any]]) -> list[str]:
    """Return the command of a health check."""
    if request.param == "image":
        return list(json.loads(texts_of("HEALTHCHECK")[0].partition("CMD ")[2]))
    (command,) = {tuple(services[name]["healthcheck"]["test"][1:]) for name in SERVICES}
    return list(command)


def test_container_is_healthy_only_while_its_path_answers_200(health: list[str]) -> None:
    path = health[-1]
    with http_server(path, 200) as port:
        assert run_health_check(health, port) == 0
    assert run_health_check(health, port) == 1  # the server has stopped
    with http_server(path, 503) as port:
        assert run_health_check(health, port) == 1
    with http_server("/elsewhere", 200) as port:
        assert run_health_check(health, port) == 1


def test_image_checks_liveness_and_compose_checks_readiness(services: dict[str, dict[str, Any]]) -> None:
    assert json.loads(texts_of("HEALTHCHECK")[0].partition("CMD ")[2])[-1] == "/healthz"
    assert {services[name]["healthcheck"]["test"][-1] for name in SERVICES} == {"/readyz"}
