"""Workers of a parallel run share a server: the first starts it, the others join it, and it stops after the last."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests import shared

ROOT = Path(__file__).resolve().parents[2]
OWNER = """
import sys, time
from contextlib import nullcontext
from pathlib import Path
from tests import shared

with shared.server(Path(sys.argv[1]), lambda: nullcontext("dead"), str, str):
    print("started", flush=True)
    time.sleep(60)
"""


class FakeServer:
    """Counts how often it was started and stopped."""

    def __init__(self) -> None:
        self.started = self.stopped = 0

    @contextmanager
    def start(self) -> Iterator[str]:
        self.started += 1
        yield f"address {self.started}"
        self.stopped += 1

    def user(self, place: Path) -> AbstractContextManager[str]:
        """Use the server as a worker does."""
        return shared.server(place, self.start, address=str, join=lambda address: f"joined {address}")


@pytest.fixture
def fake() -> FakeServer:
    return FakeServer()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "server"


def test_second_worker_joins_the_server_of_the_first(fake: FakeServer, place: Path) -> None:
    with fake.user(place) as first:
        with fake.user(place) as second:
            assert (first, second) == ("address 1", "joined address 1")
        assert (fake.started, fake.stopped) == (1, 0)
    assert (fake.started, fake.stopped) == (1, 1)


def test_owner_stops_the_server_after_its_last_user(fake: FakeServer, place: Path) -> None:
    joined, leave = threading.Event(), threading.Event()
    stopped_when_left: list[int] = []

    def use() -> None:
        with fake.user(place):
            joined.set()
            leave.wait(10)
            stopped_when_left.append(fake.stopped)

    user = threading.Thread(target=use)
    with fake.user(place):
        user.start()
        assert joined.wait(10)
        threading.Timer(0.05, leave.set).start()  # by then the owner waits
    user.join(10)
    assert (stopped_when_left, fake.stopped) == ([0], 1)


def test_server_that_was_stopped_is_started_again(fake: FakeServer, place: Path) -> None:
    for _ in range(2):
        with fake.user(place):
            pass
    assert (fake.started, fake.stopped) == (2, 2)


def test_server_that_did_not_start_is_started_by_the_next_worker(fake: FakeServer, place: Path) -> None:
    def fail() -> AbstractContextManager[str]:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"), shared.server(place, fail, address=str, join=str):
        pass
    with fake.user(place) as address:
        assert address == "address 1"


def test_server_of_a_dead_owner_is_started_again(fake: FakeServer, place: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(place)], cwd=ROOT, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner:
        assert owner.stdout.readline() == b"started\n"
        with fake.user(place) as address:
            assert address == "joined dead"
        owner.kill()
    with fake.user(place) as address:
        assert address == "address 1"
    assert (fake.started, fake.stopped) == (1, 1)


def test_names_contain_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "WORKER", "")
    assert shared.named("tables") == "tables"
    monkeypatch.setattr(shared, "WORKER", "gw1")
    assert shared.named("tables") == "tables_gw1"
