"""The role and the rep of an account of a provider. Pure: its claims and `team.yaml` decide."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from schemas.sign_in import RoleOfClaim, SignIn
from schemas.team import Rep, Team
from services.console.sessions import SignInLink

NAME_CHARS_MAX: Final = 200
NAMED_MAX: Final = 10
Claims = Mapping[str, Any]


def claim_values(claims: Claims, name: str) -> tuple[str, ...]:
    """Return the texts of a claim. `name`: that of the claim, else a path through mappings, such as `realm_access.roles`."""
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    listed = value if isinstance(value, list) else [value]
    return tuple(item for item in listed if isinstance(item, str))


def verified_email(claims: Claims, sign_in: SignIn) -> str | None:
    """Return the mail address in lower case. None: there is none, or the provider says that it has not verified it."""
    if claims.get("email_verified", True) not in (True, "true"):
        return None
    return next((value.lower() for value in claim_values(claims, sign_in.email)), None)


def needed_claims(sign_in: SignIn) -> Iterator[str]:
    """Yield the claims that decide what an account may do."""
    yield sign_in.email
    yield from (rule.claim for rule in sign_in.roles)


def granted(claims: Claims, sign_in: SignIn, team: Team) -> SignInLink | None:
    """Return what the session of an account may do. None: nothing is granted to it."""
    email = verified_email(claims, sign_in)
    rep = _active_rep(team, email)
    role = next((rule.role for rule in sign_in.roles if _fits(rule, claims, sign_in, email)), None)
    if role is None and rep is not None and sign_in.reps != "none":
        role = sign_in.reps
    if role is None:
        return None
    name = rep.name if rep is not None else email or str(claims["sub"])
    printable = "".join(character for character in name if character.isprintable())
    return SignInLink(printable[:NAME_CHARS_MAX] or "account", role, rep.id if rep is not None else None)


def what_is_needed(sign_in: SignIn) -> str:
    """Return what an account needs for a session, for the person who has none of it."""
    ways = []
    if sign_in.reps != "none":
        ways.append(f"a verified mail address that team.yaml has for an active rep (claim `{sign_in.email}`)")
    for rule in sign_in.roles[:NAMED_MAX]:
        values = ", ".join(f"`{value}`" for value in rule.has[:NAMED_MAX])
        more = " or another one" if len(rule.has) > NAMED_MAX else ""
        ways.append(f"{values}{more} in the claim `{rule.claim}` (role {rule.role})")
    return "; or ".join(ways)


def _active_rep(team: Team, email: str | None) -> Rep | None:
    rep = team.rep_by_email.get(email) if email is not None else None
    return rep if rep is not None and rep.active else None


def _fits(rule: RoleOfClaim, claims: Claims, sign_in: SignIn, email: str | None) -> bool:
    """Return whether the claim has one of the values. A mail address counts only if it is verified, in any case."""
    if rule.claim == sign_in.email:
        return email is not None and email in {value.lower() for value in rule.has}
    return not set(rule.has).isdisjoint(claim_values(claims, rule.claim))
