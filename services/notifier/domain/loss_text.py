"""The sentences about the end of an assignment, for the rep who lost the lead and for the next owner."""

from collections.abc import Mapping
from typing import Final

from services.notifier.domain.clock import PreviousOwner
from services.notifier.domain.outside_text import NAME_CHARS_MAX, unlinked
from services.notifier.domain.times import lasting

_REASONS: Final[Mapping[str, str]] = {
    "reassign": "No touch was recorded within {span}, so the lead was given to the next rep",
    "reject": "The lead was rejected ({reason})",
    "hand-over": "The lead was given to another rep ({reason})",
    "deactivated": "The lead was given to another rep ({reason})",
    "merged": "The lead was merged into another one",
    "recycle": "The lead went back to Marketing ({reason})",
    "opted-out": "The person does not want to be contacted any more",
    "qualified": "The person asked again, and the lead was given out anew",
}
_GIVEN_AWAY: Final[Mapping[str, str]] = {"reject": "gave it back", "hand-over": "handed it over"}
"""The act by which a rep ended the own assignment."""
REASON_CHARS_MAX: Final = 200


def reason_of(previous: PreviousOwner, by: str) -> str:
    """Return why the assignment ended, as a sentence. `by`: the name of the person who ended it; empty: none did."""
    text = _REASONS.get(previous.kind, "The lead was given to another rep ({reason})")
    reason = spoken(previous.reason, REASON_CHARS_MAX) or "no reason was stated"
    author = f", by {unlinked(by, NAME_CHARS_MAX)}" if by and previous.kind != "opted-out" else ""
    return f"{text.format(span=lasting(previous.until - previous.since), reason=reason)}{author}."


def spoken(word: str, chars_max: int = NAME_CHARS_MAX) -> str:
    """Return a reason or a status of the agreement as words: `no-budget` as `no budget`. A sentence stays as it is."""
    return unlinked(word if " " in word else word.replace("-", " ").replace("_", " "), chars_max)


def tried_by(previous: PreviousOwner, name: str) -> str:
    """Return who had the lead before, for how long, and what was tried."""
    parts = [f"{unlinked(name, NAME_CHARS_MAX)} for {lasting(previous.until - previous.since)}"]
    gave_away = previous.by == f"rep:{previous.rep}"
    if not previous.told and not previous.accepted and not gave_away:
        parts.append("never reached by a page")
    elif previous.accepted:
        parts.append("accepted the lead")
    elif not previous.attempts and not previous.talked and not gave_away:
        parts.append("did not answer the pages")
    if gave_away:
        reason = spoken(previous.reason) if previous.kind == "reject" else ""
        parts.append(_GIVEN_AWAY.get(previous.kind, "gave it away") + (f" ({reason})" if reason else ""))
    if previous.talked:
        parts.append("talked to the person")
    elif previous.attempts:
        parts.append(f"attempts to reach the person: {previous.attempts}")
    else:
        parts.append("no attempt recorded")
    return ", ".join(parts)
