"""The configuration in force, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from schemas.agreement.agreement import Agreement
from schemas.sources import Sources
from schemas.team import Team


@dataclass(frozen=True)
class Config:
    """The configuration in force. `version`: a hash of the three files, which decisions cite."""

    agreement: Agreement
    team: Team
    sources: Sources
    version: str
    warnings: tuple[str, ...] = ()
    directory: Path = Path()
    secret_places: Mapping[tuple[int, str], tuple[str, int, int]] = field(default_factory=dict, compare=False)
    """File, line and column of each secret, by the index of its source and the words for the secret."""
    channel_places: Mapping[str, tuple[str, int, int]] = field(default_factory=dict, compare=False)
    """File, line and column of each channel of the agreement, by its name."""
    expression_places: Mapping[tuple[str, int, str], str] = field(default_factory=dict, compare=False)
    """The place of each expression of a mapping (`sources.yaml:12:9`), by source, index of the entry, and field. The field is
    empty for an entry of a preset, whose place is the preset."""
    team_places: Mapping[tuple[str | int, ...], str] = field(default_factory=dict, compare=False)
    """The place of each entry of the team file (`team.yaml:12:5`): `("reps", id)`, `("reps", id, n)` for the absence number n of
    a rep, `("pools", id)`."""
