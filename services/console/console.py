"""The parts that the routes of pages share."""

from dataclasses import dataclass

from services.console.last_known import LastKnown
from services.console.live import LiveRegions
from services.console.markup import Pages
from services.console.viewer import Viewers


@dataclass(frozen=True)
class Console:
    """Finds viewers, renders pages, keeps parts of them current, and what the services answered last."""

    viewers: Viewers
    pages: Pages
    live: LiveRegions
    known: LastKnown
