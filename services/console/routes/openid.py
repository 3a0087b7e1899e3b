"""Signing in with an account at the OpenID Connect provider that `sign_in` of `team.yaml` names.

The authorization code flow with PKCE, state and nonce. What belongs to one sign-in is in a cookie of its browser, so that
nothing of a stranger is stored, and a code that another browser began is refused.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from firsthour.runtime.http.problem import Problem
from firsthour.runtime.processing.service import Resources
from services.console.console import Console
from services.console.markup import PAGE_HEADERS
from services.console.openid_person import granted, what_is_needed
from services.console.openid_provider import OpenIdProvider, ProviderError
from services.console.openid_token import TokenRefusedError
from services.console.page_route import SIGN_IN, problem_page
from services.console.routes.sign_in import PATH_CHARS_MAX, Entrance, local_path
from services.console.sessions import new_token

BEGIN: Final = f"{SIGN_IN}/provider"
CALLBACK: Final = f"{SIGN_IN}/callback"
SECONDS_MAX: Final = 600
"""How long a person may take at the provider."""
CODE_CHARS_MAX: Final = 4_000
COOKIE_CHARS_MAX: Final = 4_000
RETRY_SECONDS: Final = 5
_OTHER_WAY: Final = "Try again; if this lasts, `firsthour console-link` makes a link that needs no account."
_log = structlog.get_logger(__name__)


def add_routes(api: APIRouter, resources: Resources, console: Console) -> None:
    """Add the routes."""
    entrance = Entrance(resources, console.viewers, console.pages)
    accounts = AccountEntrance(resources, console, entrance)

    @api.get(BEGIN)
    async def begin(request: Request, next: str = "") -> Response:
        """Lead to the provider."""
        return await accounts.begin(request, local_path(next[:PATH_CHARS_MAX]))

    @api.get(CALLBACK)
    async def callback(request: Request) -> Response:
        """Begin the session of the account with which the provider leads back."""
        try:
            response = await accounts.finish(request)
        except Problem as problem:
            response = problem_page(console.pages, request, problem, retry=True)
        accounts.forget(request, response)
        return response


class SignInAttempt(NamedTuple):
    """One sign-in on its way. `target`: the path that it leads to."""

    state: str
    nonce: str
    verifier: str
    target: str

    def text(self) -> str:
        """Return the value of the cookie."""
        return ".".join((*self[:3], urlsafe_b64encode(self.target.encode()).decode().rstrip("=")))


def attempt_of(text: str) -> SignInAttempt | None:
    """Return the sign-in of a cookie. None: it is none of ours."""
    parts = text[:COOKIE_CHARS_MAX].split(".")
    if len(parts) != len(SignInAttempt._fields) or not all(parts):
        return None
    try:
        target = urlsafe_b64decode(parts[3] + "=" * (-len(parts[3]) % 4)).decode()
    except ValueError:
        return None
    return SignInAttempt(parts[0], parts[1], parts[2], local_path(target))


def challenge_of(verifier: str) -> str:
    """Return the challenge of a verifier (RFC 7636, S256)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


class AccountEntrance:
    """The way to a session with an account."""

    def __init__(self, resources: Resources, console: Console, entrance: Entrance) -> None:
        self._resources, self._viewers, self._entrance = resources, console.viewers, entrance
        self._redirect_uri = resources.settings.public_url + CALLBACK
        self._provider: OpenIdProvider | None = None

    async def begin(self, request: Request, target: str) -> Response:
        """Lead a browser to the provider, with a cookie that knows its sign-in again."""
        provider = self._current()
        try:
            metadata = await provider.metadata()
        except ProviderError as error:
            raise self._unavailable(error) from error
        attempt = SignInAttempt(new_token(), new_token(), new_token(), target)
        query = {
            "response_type": "code",
            "client_id": provider.sign_in.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(provider.sign_in.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge_of(attempt.verifier),
            "code_challenge_method": "S256",
        }
        mark = "&" if "?" in metadata.authorization_endpoint else "?"
        response = RedirectResponse(f"{metadata.authorization_endpoint}{mark}{urlencode(query)}", 303, PAGE_HEADERS)
        response.set_cookie(
            self._cookie(request),
            attempt.text(),
            max_age=SECONDS_MAX,
            secure=self._viewers.over_tls(request),
            httponly=True,
            samesite="lax",
        )
        return response

    async def finish(self, request: Request) -> Response:
        """Begin the session, or raise `Problem` with the reason and the remedy."""
        provider = self._current()
        attempt = attempt_of(request.cookies.get(self._cookie(request), ""))
        query = request.query_params
        if attempt is None or not hmac.compare_digest(attempt.state.encode(), query.get("state", "").encode()):
            raise Problem(
                403,
                "",
                "This sign-in was begun in another browser or window, or more than ten minutes ago. Begin again.",
            )
        if query.get("iss", provider.sign_in.issuer) != provider.sign_in.issuer:
            raise Problem(403, "", "Another provider sent you here. Begin again.")
        if "error" in query:
            raise _denied(query["error"])
        code = query.get("code", "")
        if not 0 < len(code) <= CODE_CHARS_MAX:
            raise Problem(403, "", "The provider sent no code. Begin again.")
        return await self._with_code(request, provider, attempt, code)

    def forget(self, request: Request, response: Response) -> None:
        """Let the browser drop the cookie of the sign-in: each is used once."""
        secure = self._viewers.over_tls(request)
        response.delete_cookie(self._cookie(request), secure=secure, httponly=True, samesite="lax")

    async def _with_code(
        self, request: Request, provider: OpenIdProvider, attempt: SignInAttempt, code: str
    ) -> Response:
        try:
            claims = await provider.claims_of(code, attempt.verifier, self._redirect_uri, attempt.nonce)
        except ProviderError as error:
            raise self._unavailable(error) from error
        except TokenRefusedError as error:
            _log.warning("id token refused", reason=str(error))
            raise Problem(403, "", f"The answer of the provider is refused: {error}. Begin again.") from error
        grant = granted(claims, provider.sign_in, self._resources.config.current.team)
        if grant is None:
            _log.info("account without a role")
            raise Problem(
                403,
                "",
                f"Your account has no role here. It needs {what_is_needed(provider.sign_in)}. The operator of this "
                "installation can add it: `sign_in` and `reps` of team.yaml.",
            )
        return await self._entrance.begin(request, grant, attempt.target, lasts=provider.sign_in.lasts, way="account")

    def _current(self) -> OpenIdProvider:
        """Return the provider of the configuration in force. Raises `Problem` 404: it names none."""
        sign_in = self._resources.config.current.team.sign_in
        if sign_in is None:
            raise Problem(404, "", "This installation has no provider of accounts: `sign_in` in team.yaml names one.")
        if self._provider is None or self._provider.sign_in != sign_in:
            secret = self._resources.settings.oidc_client_secret
            self._provider = OpenIdProvider(
                sign_in, secret.get_secret_value() if secret is not None else None, self._resources.clock
            )
        return self._provider

    def _cookie(self, request: Request) -> str:
        return f"{self._viewers.cookie(request)}_sign_in"

    def _unavailable(self, error: ProviderError) -> Problem:
        _log.warning("provider of accounts failed", reason=str(error))
        return Problem(
            503,
            "",
            f"The provider of accounts failed: {error}. {_OTHER_WAY}",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )


def _denied(error: str) -> Problem:
    """Return the problem of an error with which the provider leads back (RFC 6749, 4.1.2.1)."""
    if error == "access_denied":
        return Problem(403, "", "The provider did not confirm your account, or you cancelled. Begin again.")
    if error in ("server_error", "temporarily_unavailable"):
        return Problem(503, "", f"The provider of accounts is not available. {_OTHER_WAY}")
    known = error if error.isascii() and error.replace("_", "").isalnum() and len(error) <= 60 else "an unknown error"
    return Problem(
        403,
        "",
        f"The provider refused the sign-in: {known}. The operator compares `sign_in` of team.yaml with the provider.",
    )
