"""How a sender of webhooks proves that a request is its own: signatures over the raw body, and shared secrets."""

import re
from datetime import timedelta
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from schemas.values import Shape, Span, did_you_mean, shown, wrong

Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,50}$")]

BODY: Final = "body"
TIMESTAMP: Final = "timestamp"
SECRET: Final = "secret"  # noqa: S105  # the name of a part, not a secret
SIGNED_PARTS: Final = (BODY, TIMESTAMP, SECRET, "method", "url", "decoded_url", "fields")
"""The parts of a signed text. `url`: the public address of the request with its query. `decoded_url`: the same without
percent signs for `:/?@!$'()*,;`. `fields`: names and values of the form in the body, sorted by name, without separators."""
_PART: Final = re.compile(r"\{([^{}]*)\}")


class Secret(Shape):
    """The place of a secret: an environment variable, or a file (relative to the directory of this one)."""

    env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    file: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise wrong("a secret has one place", "write `{env: NAME}` or `{file: PATH}`")
        return self

    @property
    def place(self) -> str:
        """The words for the place."""
        return place_of(self.env, self.file)


def place_of(env: str | None, file: str | None) -> str:
    """Return the words for the place of a secret."""
    return f"of {env}" if env is not None else f"in {file}"


Secrets = Annotated[tuple[Secret, ...], Field(min_length=1, max_length=10)]
"""Each of them is accepted, so that a new secret can be added before the old one is removed."""


def signed_parts(text: str) -> tuple[str, ...]:
    """Return the text in pieces: literal text at even indexes, names of parts at odd ones."""
    return tuple(_PART.split(text))


def _signed_text(text: str) -> str:
    pieces = signed_parts(text)
    for name in pieces[1::2]:
        if name not in SIGNED_PARTS:
            raise wrong(f"{shown(name)} is not a part of a signed text", did_you_mean(name, SIGNED_PARTS))
    if any("{" in piece or "}" in piece for piece in pieces[::2]) or not text.isascii():
        raise wrong(f"{shown(text)} is not a signed text", "write names in braces, such as `{timestamp}.{body}`")
    if BODY not in pieces[1::2] and "fields" not in pieces[1::2]:
        raise wrong("the signed text does not contain the body", "add `{body}`, as the sender signs it")
    return text


SignedText = Annotated[str, Field(max_length=200), AfterValidator(_signed_text)]
"""What is signed: the names of `SIGNED_PARTS` in braces, and text between them."""


class StandardWebhooks(Shape):
    """Signatures as defined at standardwebhooks.com: headers `webhook-id`, `webhook-timestamp`, `webhook-signature`.

    A secret is `whsec_` and base64; a public key, for signatures `v1a`, is `whpk_` and base64.
    """

    scheme: Literal["standard-webhooks"]
    header_prefix: Literal["webhook", "svix"] = "webhook"  # svix: the names of the headers before the standard
    secrets: Secrets
    tolerance: Span = timedelta(minutes=5)  # the largest difference between the sender's clock and ours

    @property
    def is_timed(self) -> bool:
        """Whether a captured delivery is refused later."""
        return True


class Signature(Shape):
    """A signature in `header`, after `prefix`, over the text `signed`.

    `signature_field` and `timestamp_field`: the header has the form `t=1700000000,v1=5257a8...`, and these are the names
    of its fields. A timestamp outside `tolerance` is refused.
    """

    header: Header
    encoding: Literal["hex", "base64", "base64url"] = "hex"
    prefix: Annotated[str, Field(max_length=50)] = ""
    signature_field: FieldName | None = None
    signed: SignedText | None = None  # absent: `{timestamp}.{body}` with a timestamp, otherwise `{body}`
    timestamp_header: Header | None = None
    timestamp_field: FieldName | None = None
    timestamp_unit: Literal["s", "ms"] = "s"  # since 1970
    tolerance: Span = timedelta(minutes=5)
    secrets: Secrets

    @property
    def is_timed(self) -> bool:
        """Whether a captured delivery is refused later."""
        return self.timestamp_header is not None or self.timestamp_field is not None

    @property
    def signed_text(self) -> str:
        """The text that is signed."""
        return self.signed or ("{timestamp}.{body}" if self.is_timed else "{body}")

    @model_validator(mode="after")
    def _signs_its_time(self) -> Self:
        if self.timestamp_header is not None and self.timestamp_field is not None:
            raise wrong("the timestamp has two places", "keep `timestamp_header` or `timestamp_field`")
        if self.timestamp_field is not None and self.signature_field is None:
            raise wrong("`timestamp_field` needs `signature_field`", "name the field of the header with the signature")
        parts = signed_parts(self.signed_text)[1::2]
        if self.is_timed and TIMESTAMP not in parts:
            raise wrong(
                "the timestamp is not signed, so it proves nothing", "add `{timestamp}` to `signed`, or remove it"
            )
        if not self.is_timed and TIMESTAMP in parts:
            raise wrong("`signed` has a timestamp without a place", "name its header as `timestamp_header`")
        has_secret = SECRET in parts
        if has_secret != isinstance(self, Digest):
            remedy = (
                "write `{secret}` where the sender puts it" if not has_secret else "remove `{secret}` from `signed`"
            )
            raise wrong("the secret is part of the signed text for the scheme sha256 alone", remedy)
        return self


class Hmac(Signature):
    """An HMAC with the secret as key."""

    scheme: Literal["hmac-sha256", "hmac-sha1", "hmac-sha512"]


class Digest(Signature):
    """The SHA-256 of a text that contains the secret. Weaker than an HMAC; for senders that offer nothing else."""

    scheme: Literal["sha256"]


class PublicKey(Signature):
    """A signature that the sender's public key verifies. `secrets` are the places of public keys.

    ECDSA: PEM or base64 of the DER form, and the signature is in DER form. Ed25519: the 32 bytes in hex or base64.
    """

    scheme: Literal["ecdsa-sha256", "ed25519"]


class SecretHeader(Shape):
    """A header whose value, after `prefix`, is the secret."""

    scheme: Literal["header"]
    header: Header
    prefix: Annotated[str, Field(max_length=50)] = ""
    secrets: Secrets
    is_timed: ClassVar[bool] = False


class BasicAuth(Shape):
    """HTTP Basic authentication with this user name. The secret is the password."""

    scheme: Literal["basic"]
    username: Annotated[str, Field(max_length=200, pattern=r"^[^:]*$")] = ""
    secrets: Secrets
    is_timed: ClassVar[bool] = False


class UrlToken(Shape):
    """The secret is the last part of the address, /hooks/<id>/<secret>, or the query parameter of this name."""

    scheme: Literal["url-token"]
    parameter: FieldName | None = None
    secrets: Secrets
    is_timed: ClassVar[bool] = False


class BodyKey(Shape):
    """The body contains the secret, at this path of fields: `google_key`, `auth.token`. It is removed before bodies are kept."""

    scheme: Literal["body-key"]
    key: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,99}(\.[A-Za-z_][A-Za-z0-9_-]{0,99}){0,5}$")]
    secrets: Secrets
    is_timed: ClassVar[bool] = False


Scheme = StandardWebhooks | Hmac | Digest | PublicKey | SecretHeader | BasicAuth | UrlToken | BodyKey


def _listed(value: object) -> object:
    """Return a tuple of one scheme for a scheme, and any other value unchanged."""
    return (value,) if isinstance(value, dict | Shape) else value


OneScheme = Annotated[Scheme, Field(discriminator="scheme")]
Verify = Annotated[
    tuple[OneScheme, ...],
    Field(min_length=1, max_length=5),
    BeforeValidator(_listed, json_schema_input_type=OneScheme | tuple[OneScheme, ...]),
]
"""One scheme, or several of which one must hold."""
