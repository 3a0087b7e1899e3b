"""Warnings about the host of a process: variables, Python, and access to the data directory."""

from collections.abc import Iterator

from firsthour.runtime import private_files, python_release, settings
from firsthour.runtime.config import source_secrets
from firsthour.runtime.settings import Settings
from schemas.sources import PresetSource, Sources


def secret_variables(sources: Sources) -> set[str]:
    """Return the variables that `sources.yaml` names."""
    found: set[str] = set()
    for source in sources.sources:
        secrets = source.secrets if isinstance(source, PresetSource) else source_secrets.named(source)[0]
        found |= {secret.env for secret in secrets if secret.env is not None}
    return found


def warnings(known: Settings, sources: Sources | None, *, keeps_data: bool = True) -> Iterator[str]:
    """Return a line for each warning. `sources`: None if unknown. `keeps_data`: the data directory is used."""
    yield from of_settings(known, sources)
    yield from python_release.warnings()
    exposed = private_files.exposure(known.data_dir) if keeps_data else None
    if exposed:
        yield exposed


def of_settings(known: Settings, sources: Sources | None) -> Iterator[str]:
    """Return the warnings about unwise settings, and about variables that are no settings."""
    yield from known.warnings()
    yield from settings.unknown_variables(settings.environ(), secret_variables(sources) if sources else ())
