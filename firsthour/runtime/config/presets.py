"""The presets of vendors: sources without id and secrets, one file per vendor in `preset_files/`."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from firsthour.runtime.config import yaml_source
from firsthour.runtime.config.documents import ConfigProblem, Document
from schemas.sources import PresetSource, Source, Sources, WebhookSource

DIRECTORY: Final = Path(__file__).parent / "preset_files"
_LIKE: Final = "like"
"""The field of a preset that takes the fields of another one, except for those that it has itself."""
_REPLACED: Final = ("format", "handshake", "answer", "types", "answers", "quota")


@cache
def preset(name: str) -> Mapping[str, Any]:
    """Return the fields of a preset. Raises `ValueError` for a file that is not YAML."""
    document = yaml_source.parse((DIRECTORY / f"{name}.yaml").read_bytes(), f"{name}.yaml")
    if document.data is None:
        raise ValueError(document.problems)
    base = document.data.pop(_LIKE, None)
    return document.data if base is None else {**preset(base), **document.data}


def webhook_source(source: PresetSource) -> WebhookSource:
    """Return the source with the fields of its preset. Raises `ValidationError`."""
    known = preset(source.preset)
    fields = {name: value for name in _REPLACED if (value := getattr(source, name)) is not None}
    verify = source.verify or [{**scheme, "secrets": source.secrets} for scheme in known["verify"]]
    events = [*source.events, *_other_entries(source)]
    complete = {**known, **fields, "id": source.id, "kind": "webhook", "verify": verify, "events": events}
    return WebhookSource.model_validate({**complete, "fetch": _fetch(source)})


def _fetch(source: PresetSource) -> Mapping[str, Any] | None:
    """Return the fetch of the preset with the changes of the source; None: there is none, or it has no token."""
    known, own = preset(source.preset).get("fetch"), source.fetch
    if known is None:
        return None
    changed = {} if own is None else {name: getattr(own, name) for name in ("base_url", "path", "version", "token")}
    fetch = {**known, **{name: value for name, value in changed.items() if value is not None}}
    fetch["headers"] = {**known.get("headers", {}), **(own.headers if own is not None else {})}
    return fetch if "token" in fetch else None


def _other_entries(source: PresetSource) -> list[Mapping[str, Any]]:
    """Return the entries of the preset whose types the source does not map itself."""
    own_types = {mapping.type for mapping in source.events}
    return [entry for entry in preset(source.preset)["events"] if entry["type"] not in own_types]


def entry_places(sources: Sources) -> dict[tuple[str, int, str], str]:
    """Return the preset as the place of each entry that comes from one, by source, index of the entry, and an empty field."""
    return {
        (source.id, len(source.events) + index, ""): f"preset {source.preset}"
        for source in sources.sources
        if isinstance(source, PresetSource)
        for index in range(len(_other_entries(source)))
    }


def mapped_fields(name: str) -> Iterator[str]:
    """Yield the fields that the mappings of a preset fill."""
    for entry in preset(name)["events"]:
        yield from entry.get("data", ())


def expanded(document: Document, sources: Sources, mistakes: list[ConfigProblem]) -> Sources:
    """Return the sources with the fields of their presets. `mistakes` receives the sources that contradict their preset."""
    complete: list[Source] = []
    for index, source in enumerate(sources.sources):
        try:
            complete.append(webhook_source(source) if isinstance(source, PresetSource) else source)
        except ValidationError as failure:
            context = failure.errors()[0].get("ctx", {})
            mistake = str(context.get("mistake", failure.errors()[0]["msg"]))
            remedy = str(context.get("remedy", "correct the fields that replace those of the preset"))
            mistakes.append(document.problem(("sources", index), mistake, remedy))
    return Sources(sources=tuple(complete))
