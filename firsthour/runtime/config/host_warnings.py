"""Warnings about the host of a process: environment variables, Python release, access to the data directory."""

import difflib
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from firsthour.kernel.config import Config
from firsthour.runtime import private_files, python_release, settings
from firsthour.runtime.config import source_secrets
from firsthour.runtime.settings import PREFIX, Settings
from schemas.sources import KafkaSource
from schemas.values import shown

_STEM: Final = "FIRST"  # the start of misspelt prefixes, such as FIRST_HOUR_ and FIRSTHOR_
_SIMILARITY_MIN: Final = 0.75  # between a name and the setting that is suggested for it


def warnings(process_settings: Settings, config: Config | None, *, keeps_data: bool = True) -> Iterator[str]:
    """Return a line for each warning. `config`: None if unknown. `keeps_data`: the process uses the data directory."""
    yield from of_settings(process_settings, config)
    yield from _unread_sources(process_settings, config)
    yield from python_release.warnings()
    exposure = private_files.exposure(process_settings.data_dir) if keeps_data else None
    if exposure:
        yield exposure


def of_settings(process_settings: Settings, config: Config | None) -> Iterator[str]:
    """Return the warnings about unwise settings, and about environment variables that only look like settings."""
    yield from process_settings.warnings()
    yield from unknown_variables(settings.environ(), secret_variables(config) if config else ())


def _unread_sources(process_settings: Settings, config: Config | None) -> Iterator[str]:
    for source in config.sources.sources if config and not process_settings.distributed else ():
        if isinstance(source, KafkaSource):
            yield (
                f"the source {source.id} is read from Kafka, and this process has none; "
                f"set {PREFIX}KAFKA_BOOTSTRAP, or remove the source"
            )


def secret_variables(config: Config) -> set[str]:
    """Return the environment variables that the files name as secrets, and those that may name a file instead."""
    channels = [secret.env for way in config.agreement.channels.values() for secret in way.secrets if secret.env]
    names = {*channels, *(f"{name}_FILE" for name in channels)}
    for source in config.sources.sources:
        names |= {secret.env for secret, _ in source_secrets.named(source) if secret.env is not None}
    return names


def setting_variables() -> tuple[str, ...]:
    """Return the names of all variables that are settings."""
    names = [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    return (*names, *(f"{PREFIX}{name.upper()}_FILE" for name in settings.secret_fields()))


def unknown_variables(environment: Iterable[str], secrets: Collection[str] = ()) -> tuple[str, ...]:
    """Return a warning for each variable that only looks like a setting. `secrets`: variables that the files name."""
    variables = setting_variables()
    lines = []
    for name in sorted(set(environment)):
        upper = name.upper()
        if upper in variables or name in secrets:
            continue
        matches = difflib.get_close_matches(upper, variables, n=1, cutoff=_SIMILARITY_MIN)
        if upper.startswith(PREFIX):
            remedy = f"did you mean {matches[0]}?" if matches else "unset it; the settings are listed in the README"
            lines.append(f"{shown(name)} is not a setting and has no effect; {remedy}")
        elif matches and upper.startswith(_STEM):
            lines.append(f"{shown(name)} has no effect; did you mean {matches[0]}?")
    return tuple(lines)
