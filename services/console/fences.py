"""The picture of the lifecycle: statuses by the team that owns them, and the allowed transitions as arrows, for SVG."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

WIDTH: Final = 760
BOX_WIDTH: Final = 150
BOX_LEFT: Final = (110, 500)
"""The left edge of the boxes: of Marketing and of no team, and of Sales. Beside them is room for arrows within a team."""
PORT: Final = 13  # between two arrows on one side of a box
BOX_HEIGHT: Final = 40
GAP: Final = 34
TOP: Final = 44  # of the first box, below the name of its team
BULGE: Final = 20
BULGE_MAX: Final = 90
HEAD: Final = 7  # the arrow head; its point touches the box
NAME_CHARS_MAX: Final = 16
STATUSES_MAX: Final = 24
ARROWS_MAX: Final = 120
ANY: Final = "any"
TEAMS: Final = ("marketing", "nobody", "sales")


class Fence(NamedTuple):
    """The frame of a team."""

    team: str
    x: float
    y: float
    width: float
    height: float


class StatusBox(NamedTuple):
    """A status. `from_any`: it can be reached from every other status, which no arrow shows."""

    name: str
    label: str
    team: str
    x: float
    y: float
    width: float
    height: float
    from_any: bool


class StatusArrow(NamedTuple):
    """A transition. `kind`: `handover` to Sales, `back` to Marketing, else `inside`. `path`, `head`: attributes of SVG."""

    start: str
    end: str
    kind: str
    path: str
    head: str


class FencePicture(NamedTuple):
    """The whole picture."""

    width: int
    height: float
    fences: Sequence[Fence]
    boxes: Sequence[StatusBox]
    arrows: Sequence[StatusArrow]


def fence_picture(statuses: Mapping[str, str], transitions: Sequence[Mapping[str, Any]]) -> FencePicture | None:
    """Return the picture of a lifecycle. None: it has too many statuses or transitions for one."""
    pairs = _pairs(statuses, transitions)
    if len(statuses) > STATUSES_MAX or len(pairs) > ARROWS_MAX:
        return None
    sides = _sides(statuses, pairs)
    heights = {name: _height(name, sides) for name in statuses}
    from_any = {way["to"] for way in transitions if ANY in way["from"]}
    fences, boxes = _placed(statuses, heights, from_any)
    by_name = {box.name: box for box in boxes}
    ports = _ports(by_name, sides)
    arrows = [_arrow(by_name[start], by_name[end], ports) for start, end in pairs]
    height = max((fence.y + fence.height for fence in fences), default=0) + 4
    return FencePicture(WIDTH, height, fences, boxes, arrows)


def _pairs(statuses: Mapping[str, str], transitions: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the pairs of statuses with a transition, each once."""
    pairs = {
        (start, way["to"]): None
        for way in transitions
        for start in way["from"]
        if start != ANY and start != way["to"] and start in statuses and way["to"] in statuses
    }
    return list(pairs)


def _column(team: str) -> int:
    return 1 if team == "sales" else 0


Side = tuple[str, str]
"""A status, and `left` or `right`."""


def _sides(statuses: Mapping[str, str], pairs: Iterable[tuple[str, str]]) -> dict[Side, list[tuple[str, str, str]]]:
    """Return the arrow ends at each side of each box: start, end, and which of both stands here."""
    sides: dict[Side, list[tuple[str, str, str]]] = {}
    for start, end in pairs:
        columns = _column(statuses[start]), _column(statuses[end])
        inside = columns[0] == columns[1]
        for name, column, here in ((start, columns[0], "start"), (end, columns[1], "end")):
            outer = ("left", "right")[column]
            inner = ("right", "left")[column]
            sides.setdefault((name, outer if inside else inner), []).append((start, end, here))
    return sides


def _height(name: str, sides: Mapping[Side, Sequence[object]]) -> float:
    most = max(len(sides.get((name, side), ())) for side in ("left", "right"))
    return max(BOX_HEIGHT, PORT * (most + 1))


def _placed(
    statuses: Mapping[str, str], heights: Mapping[str, float], from_any: set[str]
) -> tuple[list[Fence], list[StatusBox]]:
    fences, boxes, bottoms = list[Fence](), list[StatusBox](), [4.0, 4.0]
    for team in TEAMS:
        names = [name for name, owner in statuses.items() if owner == team]
        if not names:
            continue
        column = _column(team)
        top = bottoms[column]
        y = top + TOP
        for name in names:
            label = name if len(name) <= NAME_CHARS_MAX else f"{name[: NAME_CHARS_MAX - 1]}…"
            boxes.append(StatusBox(name, label, team, BOX_LEFT[column], y, BOX_WIDTH, heights[name], name in from_any))
            y += heights[name] + GAP
        bottom = y - GAP / 2
        left = 4 if column == 0 else BOX_LEFT[1] - 20
        right = BOX_LEFT[0] + BOX_WIDTH + 20 if column == 0 else WIDTH - 4
        fences.append(Fence(team, left, top, right - left, bottom - top))
        bottoms[column] = bottom + 12
    return fences, boxes


def _ports(boxes: Mapping[str, StatusBox], sides: Mapping[Side, list[tuple[str, str, str]]]) -> dict[Any, float]:
    """Return the height at which each arrow end touches its box: in the order of the other ends, so that few arrows cross."""
    ports: dict[Any, float] = {}
    for (name, side), ends in sides.items():
        box = boxes[name]

        def other(item: tuple[str, str, str], box: StatusBox = box) -> tuple[float, str]:
            far = boxes[item[1] if item[2] == "start" else item[0]]
            # Arrows of one column are nested: those from far above come first, those to far below last.
            return far.y - box.y, item[2]

        ordered = sorted(ends, key=other)
        step = box.height / (len(ordered) + 1)
        for number, (start, end, here) in enumerate(ordered, 1):
            ports[start, end, here, side] = box.y + step * number
    return ports


def _arrow(start: StatusBox, end: StatusBox, ports: Mapping[Any, float]) -> StatusArrow:
    columns = _column(start.team), _column(end.team)
    if columns[0] != columns[1]:
        kind = "handover" if columns[1] == 1 else "back"
        direction = 1 if columns[1] == 1 else -1
        here, there = ("right", "left") if direction == 1 else ("left", "right")
        x1 = start.x + (start.width if direction == 1 else 0)
        x2 = end.x + (0 if direction == 1 else end.width)
        y1 = ports[start.name, end.name, "start", here]
        y2 = ports[start.name, end.name, "end", there]
        tip = x2 - direction * HEAD
        middle = (x1 + tip) / 2
        path = f"M{x1:.1f} {y1:.1f}C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {tip:.1f} {y2:.1f}"
        return StatusArrow(start.name, end.name, kind, path, _head(x2, y2, direction))
    outward = -1 if columns[0] == 0 else 1
    side = "left" if outward == -1 else "right"
    x = start.x + (0 if outward == -1 else start.width)
    y1 = ports[start.name, end.name, "start", side]
    y2 = ports[start.name, end.name, "end", side]
    far = x + outward * min(BULGE_MAX, BULGE + abs(y2 - y1) / 3.5)
    tip = x + outward * HEAD
    path = f"M{x:.1f} {y1:.1f}C{far:.1f} {y1:.1f} {far:.1f} {y2:.1f} {tip:.1f} {y2:.1f}"
    return StatusArrow(start.name, end.name, "inside", path, _head(x, y2, -outward))


def _head(x: float, y: float, direction: int) -> str:
    """Return the points of an arrow head whose point is at (x, y)."""
    back = x - direction * HEAD
    return f"{x:.1f},{y:.1f} {back:.1f},{y - 4:.1f} {back:.1f},{y + 4:.1f}"
