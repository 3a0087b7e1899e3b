"""Hides leads from the reps who may not see them. A lead that is not visible is unknown: 404, as if it did not exist."""

from collections.abc import Awaitable, Callable

from fastapi import Request

from firsthour.kernel.config import Config
from firsthour.kernel.visibility import VisibleLeads, visible_to_rep
from firsthour.runtime.config.reading import Configs
from firsthour.runtime.http.auth import principal_of
from firsthour.runtime.http.idempotency import has_answer
from firsthour.runtime.http.principal import Principal
from firsthour.runtime.http.problem import Problem
from firsthour.runtime.storage.reader import Reader
from firsthour.runtime.storage.visible_leads import visible_ids


def visible_leads(config: Config, principal: Principal) -> VisibleLeads | None:
    """Return the leads that a principal sees. None: all."""
    if principal.rep is None or principal.allows("manager"):
        return None
    return visible_to_rep(config, principal.rep)


def unknown_lead(lead: str) -> Problem:
    """Return the answer about a lead that does not exist or is not visible, which look the same."""
    return Problem(404, "Unknown lead", f"There is no lead {lead!r}.")


def hidden_leads(configs: Configs, reads: Reader) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency of all routes that refuses a path with a `{lead}` that its sender does not see.

    A repeated command passes if its first answer is stored: it may have taken the lead out of sight.
    """

    async def check(request: Request) -> None:
        lead = request.path_params.get("lead")
        if lead is None:
            return
        visible = visible_leads(configs.current, principal_of(request))
        if visible is None or await reads(lambda connection: bool(visible_ids(connection, visible, [lead]))):
            return
        if not await has_answer(request, reads):
            raise unknown_lead(lead)

    return check
