"""The section `sign_in` of `team.yaml`: people sign in to the console with their account at an OpenID Connect provider."""

import re
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.values import Shape, Span, Words, shown, wrong

_ISSUER: Final = re.compile(
    r"(https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]{1,5})?(/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*)?"
)  # https, or http to this machine
OPENID: Final = "openid"
LASTS_MAX: Final = timedelta(days=30)


def _issuer(value: str) -> str:
    if not _ISSUER.fullmatch(value):
        remedy = "write it as the provider states it, such as `https://login.example.com/realms/sales`, without a query"
        raise wrong(f"{shown(value)} is not the address of a provider", remedy)
    return value


def _scopes(value: tuple[str, ...]) -> tuple[str, ...]:
    for scope in value:
        if not re.fullmatch(r"[!#-\[\]-~]{1,100}", scope):
            raise wrong(f"{shown(scope)} is not a scope", "write a word of the provider, such as `email`")
    if OPENID not in value:
        raise wrong("the scope `openid` is missing", "add it; the provider returns no identity without it")
    return value


def _lasts(value: timedelta) -> timedelta:
    if value > LASTS_MAX:
        raise wrong("a session cannot last longer than 30 days", "write at most `30d`")
    return value


Text = Annotated[str, Field(min_length=1, max_length=200)]
Issuer = Annotated[str, Field(max_length=500), AfterValidator(_issuer)]
"""The address of a provider, exactly as it states it itself."""
ConsoleRole = Literal["marketing", "sales", "manager", "admin"]


class RoleOfClaim(Shape):
    """The role of people whose claim has one of these values. `claim`: a name, or a path such as `realm_access.roles`."""

    role: ConsoleRole
    claim: Text = "groups"
    has: Annotated[Words, Field(min_length=1, max_length=100)]


class SignIn(Shape):
    """An OpenID Connect provider, and what its accounts may do.

    The first entry of `roles` that fits gives the role. A person without one who is a rep of this file gets the role `reps`.
    """

    issuer: Issuer
    client_id: Text
    name: Text = "your account"  # on the button: "Sign in with ..."
    scopes: Annotated[Words, Field(max_length=20), AfterValidator(_scopes)] = (OPENID, "email", "profile")
    email: Text = "email"  # the claim that is compared with the addresses of reps
    roles: Annotated[tuple[RoleOfClaim, ...], Field(max_length=100)] = ()
    reps: ConsoleRole | Literal["none"] = "sales"  # none: a rep needs an entry of `roles` too
    lasts: Annotated[Span, AfterValidator(_lasts)] = timedelta(hours=12)  # then the person signs in again

    @model_validator(mode="after")
    def _lets_someone_in(self) -> Self:
        if self.reps == "none" and not self.roles:
            raise wrong("these settings let no person in", "add `roles`, or a role for `reps`")
        return self
