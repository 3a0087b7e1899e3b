"""Warnings about channels of the ladder that are not set up here, or that have no address of a rep."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from firsthour.kernel.config import Config
from firsthour.runtime.settings import PREFIX, Settings
from schemas.agreement.response import CHANNELS, ManagerPage, Rung
from schemas.mail import deliverable
from schemas.team import Rep

REMEDIES: Final = {
    "slack": f"set {PREFIX}SLACK_BOT_TOKEN",
    "email": f"set {PREFIX}SMTP_URL and {PREFIX}MAIL_FROM",
}
_NAMED_MAX: Final = 5


def set_up(settings: Settings) -> tuple[str, ...]:
    """Return the channels that these settings allow."""
    usable = {"slack": settings.slack_bot_token is not None, "email": settings.smtp_url is not None, "inbox": True}
    return tuple(name for name, is_set_up in usable.items() if is_set_up)


def warnings(config: Config, channels: Collection[str]) -> list[str]:
    """Return one line per unusable channel; `channels` are those of the settings. A rung without `by:` uses any channel and is
    skipped."""
    channels = {*channels, *config.agreement.channels}
    ladder = config.agreement.response.ladder
    named = [rung for rung in ladder if rung.page and "by" in rung.model_fields_set]
    tell = config.agreement.tell
    contacts = {"marketing": tell.marketing, "sales": tell.sales, "operator": tell.operator}
    return [
        *_not_set_up(ladder, named, channels),
        *_managers_not_told(config, channels),
        *_without_address(config, named),
        *(
            f"{team} is told by {name}, which is not set up here: {REMEDIES.get(name, 'set it up')}"
            for team, contact in contacts.items()
            if contact is not None
            for name in contact.by
            if name not in channels
        ),
    ]


def _not_set_up(ladder: Sequence[Rung], named: Sequence[Rung], channels: Collection[str]) -> Iterator[str]:
    for name in dict.fromkeys(name for rung in named for name in rung.by if name not in channels):
        rungs = [str(n) for n, rung in enumerate(ladder, 1) if rung in named and not set(rung.by) & set(channels)]
        wait = f"; until then pages of rung {', '.join(rungs)} wait unsent" if rungs else ""
        yield f"the ladder pages by {name}, which is not set up here: {REMEDIES.get(name, 'set it up')}{wait}"


def _managers_not_told(config: Config, channels: Collection[str]) -> Iterator[str]:
    """Yield the channels of reminders and of missed promises that are not set up."""
    for field, page in _of_managers(config).items():
        wait = "" if set(page.by) & set(channels) else "; until then these pages wait unsent"
        for name in page.by:
            if name not in channels:
                yield f"`{field}` pages by {name}, which is not set up here: {REMEDIES.get(name, 'set it up')}{wait}"


def _of_managers(config: Config) -> dict[str, ManagerPage]:
    """Return the pages to managers by their field. One over `CHANNELS`, the default, is left out: it uses any channel."""
    response = config.agreement.response
    pages = {"remind": response.remind, "missed": response.missed}
    return {field: page for field, page in pages.items() if page.by != CHANNELS}


def _without_address(config: Config, named: Sequence[Rung]) -> Iterator[str]:
    reps = [rep for rep in config.team.reps if rep.active]
    managers = {rep.manager for rep in reps} | {pool.manager for pool in config.team.pools}
    for name, field in (("slack", "slack"), ("email", "email")):
        paged: Collection[str | None] = ()
        if any(name in page.by for page in _of_managers(config).values()):
            paged = managers
        if any(name in rung.by for rung in named):
            paged = _paged(config)
        without = [rep.id for rep in reps if rep.id in paged and not _has(rep, name)]
        if without:
            more = f" and {len(without) - _NAMED_MAX} more" if len(without) > _NAMED_MAX else ""
            yield (
                f"the ladder pages by {name}, but {', '.join(without[:_NAMED_MAX])}{more} has no address for it: "
                f"add `{field}` in team.yaml"
            )


def _has(rep: Rep, channel: str) -> bool:
    return rep.slack is not None if channel == "slack" else deliverable(rep.email) is not None


def _paged(config: Config) -> set[str]:
    """Return the reps who can own a lead, and their managers and covers."""
    team = config.team
    owners = {member.rep for pool in team.pools for member in pool.members} | {one.owner for one in team.accounts}
    managers = {rep.manager for rep in team.reps} | {pool.manager for pool in team.pools}
    covers = {away.cover for rep in team.reps for away in rep.away}
    return owners | {rep for rep in managers | covers if rep is not None}
