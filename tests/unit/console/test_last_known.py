"""What a page shows of a service that does not answer: its last figures, and their time."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from fastapi import FastAPI, Request, Response

from services.console.last_known import ANSWERS_MAX, LastKnown
from services.console.sessions import Session
from services.console.viewer import Viewer
from tests.hand_clock import HandClock


class LameService:
    """A service that can be told to fail."""

    def __init__(self) -> None:
        self.status = 200
        self.app = FastAPI()
        self.app.add_api_route("/v1/sources", self.answer)

    async def answer(self) -> Response:
        body = (
            b'{"items": [1]}' if self.status == 200 else b'{"title": "Unavailable", "detail": "the database is away"}'
        )
        return Response(body, self.status, media_type="application/json")

    def viewer(self, role: str) -> Viewer:
        now = HandClock().real()
        session = Session("s", "Kim", role, None, None, "", now, now, now)
        request = Request({"type": "http", "app": self.app, "headers": [], "state": {}, "method": "GET", "path": "/"})
        return Viewer(session, "", "en", ZoneInfo("UTC"), request)


async def test_part_that_cannot_be_loaded_shows_its_last_figures_and_their_time() -> None:
    clock, service = HandClock(), LameService()
    known, viewer = LastKnown(clock), service.viewer("manager")
    first = await known.load(viewer, "/v1/sources", {"hours": 24})
    assert (first.content, first.problem) == ({"items": [1]}, None)
    clock.advance(minutes=5)
    service.status = 503
    part = await known.load(viewer, "/v1/sources", {"hours": 24})
    assert part.content == {"items": [1]}
    assert part.as_of == clock.real() - timedelta(minutes=5)
    assert part.problem is not None
    assert part.problem.detail == "the database is away"


async def test_last_figures_are_not_shown_to_another_role_or_after_a_refusal() -> None:
    service = LameService()
    known = LastKnown(HandClock())
    await known.load(service.viewer("manager"), "/v1/sources")
    for role, status in (("sales", 503), ("manager", 403)):
        service.status = status
        assert (await known.load(service.viewer(role), "/v1/sources")).content is None


async def test_kept_answers_are_bounded() -> None:
    service = LameService()
    known = LastKnown(HandClock())
    for number in range(ANSWERS_MAX + 50):
        await known.load(service.viewer("manager"), "/v1/sources", {"hours": number})
    assert len(known._answers) == ANSWERS_MAX
