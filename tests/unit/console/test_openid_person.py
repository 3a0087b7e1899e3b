"""The role and the rep of an account."""

from typing import Any

import pytest

from schemas.sign_in import SignIn
from schemas.team import Team
from services.console.openid_person import claim_values, granted, what_is_needed
from services.console.sessions import SignInLink

TEAM = Team.model_validate(
    {
        "reps": [
            {"id": "ana", "name": "Ana Gomez", "email": "Ana@acme.example"},
            {"id": "gone", "name": "Gone", "email": "gone@acme.example", "active": False},
        ],
        "pools": [{"id": "all", "members": [{"rep": "ana"}]}],
    }
)
ROLES = [
    {"role": "admin", "has": ["operators"]},
    {"role": "manager", "claim": "realm_access.roles", "has": ["leads", "heads"]},
    {"role": "marketing", "claim": "email", "has": "Mia@acme.example"},
    {"role": "manager", "claim": "https://acme.example/roles", "has": "head"},
]


def sign_in(**changes: Any) -> SignIn:
    return SignIn.model_validate(
        {"issuer": "https://login.example", "client_id": "firsthour", "roles": ROLES, **changes}
    )


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"email": "ANA@acme.example"}, SignInLink("Ana Gomez", "sales", "ana")),
        ({"email": "ana@acme.example", "groups": ["x", "operators"]}, SignInLink("Ana Gomez", "admin", "ana")),
        ({"groups": "operators"}, SignInLink("account-1", "admin", None)),
        ({"realm_access": {"roles": ["heads"]}}, SignInLink("account-1", "manager", None)),
        ({"https://acme.example/roles": ["head"]}, SignInLink("account-1", "manager", None)),
        ({"email": "mia@ACME.example", "email_verified": True}, SignInLink("mia@acme.example", "marketing", None)),
        ({"email": "ana@acme.example", "email_verified": "true"}, SignInLink("Ana Gomez", "sales", "ana")),
        ({"email": "ana@acme.example", "email_verified": False}, None),
        ({"email": "ana@acme.example", "email_verified": None}, None),
        ({"email": "mia@acme.example", "email_verified": False}, None),
        ({"email": "gone@acme.example"}, None),
        ({"email": ["x", {"y": 1}]}, None),
        ({"groups": {"operators": True}}, None),
        ({"groups": ["Operators"]}, None),
        ({"realm_access": ["heads"]}, None),
        ({}, None),
    ],
    ids=str,
)
def test_claims_decide_role_and_rep(claims: dict[str, Any], expected: SignInLink | None) -> None:
    assert granted({"sub": "account-1", **claims}, sign_in(), TEAM) == expected


def test_rep_needs_a_role_of_their_own_if_the_file_says_so() -> None:
    claims = {"sub": "account-1", "email": "ana@acme.example"}
    assert granted(claims, sign_in(reps="none"), TEAM) is None
    assert granted({**claims, "groups": ["operators"]}, sign_in(reps="none"), TEAM) == SignInLink(
        "Ana Gomez", "admin", "ana"
    )
    assert granted(claims, sign_in(reps="manager"), TEAM) == SignInLink("Ana Gomez", "manager", "ana")


def test_name_of_an_account_has_no_control_characters_and_is_short() -> None:
    link = granted({"sub": "a\u202eb\x00" + "c" * 500, "groups": ["operators"]}, sign_in(), TEAM)
    assert link is not None
    assert link.name == "ab" + "c" * 198


def test_page_of_a_refusal_names_each_way_in() -> None:
    needed = what_is_needed(sign_in())
    for part in ("active rep", "`operators`", "`realm_access.roles`", "role marketing"):
        assert part in needed


def test_name_of_a_claim_wins_over_the_path_of_the_same_name() -> None:
    assert claim_values({"a.b": "one", "a": {"b": "two"}}, "a.b") == ("one",)
