"""Every route of the console with values for its path, so that a test also holds for pages that are added later."""

from html.parser import HTMLParser
from typing import Final, NamedTuple

from fastapi.routing import iter_route_contexts

from services.gateway.asgi import Gateway
from tests.story.world import World

PUBLIC: Final = ("/console/sign-in", "/console/enter/{token}", "/console/static/{name}")
"""Paths that need no session, with all below them."""
ANYTHING: Final = "nothing"
_VOID: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_PLAIN: Final = frozenset({"bdi", "title", "option", "textarea"})
"""Elements that keep their direction apart, or whose text the browser shows by itself."""


class ConsoleRoute(NamedTuple):
    """A method and a path. `template`: the path with the names of its parts."""

    method: str
    path: str
    template: str

    @property
    def is_stream(self) -> bool:
        return self.template.endswith("/stream")


def console_routes(world: World, **values: str) -> list[ConsoleRoute]:
    """Return the routes that need a session. `values`: of the parts of paths; others get a value that does not exist."""
    assert isinstance(world.system.app, Gateway)
    found = []
    for route in iter_route_contexts(world.system.app.inner.routes):  # type: ignore[attr-defined]  # the framework's own
        template = str(route.path)
        if template.startswith("/console") and not template.startswith(PUBLIC):
            names = [part[1:-1].partition(":")[0] for part in template.split("/") if part.startswith("{")]
            path = "/".join(
                values.get(part[1:-1].partition(":")[0], ANYTHING) if part.startswith("{") else part
                for part in template.split("/")
            )
            assert names or path == template
            methods = (route.methods or set()) - {"HEAD"}
            found += [ConsoleRoute(method, path, template) for method in sorted(methods)]
    return sorted(found)


class ShownText(NamedTuple):
    """A text of a page, and whether an element around it keeps its direction apart."""

    text: str
    isolated: bool


class PageReader(HTMLParser):
    """Reads a page: its texts, its elements, and its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[ShownText] = []
        self.elements: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []  # element, name, value
        self._open: list[tuple[str, bool]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append((tag, tag in _PLAIN or ("dir", "auto") in attrs))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(ShownText(data.strip(), any(isolated for _, isolated in self._open)))
