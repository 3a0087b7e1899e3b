"""The parts that the routes of pages share."""

from dataclasses import dataclass

from services.console.live import LiveRegions
from services.console.markup import Pages
from services.console.viewer import Viewers


@dataclass(frozen=True)
class Console:
    """Finds viewers, renders pages, and keeps parts of them current."""

    viewers: Viewers
    pages: Pages
    live: LiveRegions
