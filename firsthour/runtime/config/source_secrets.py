"""Reads the secrets that verify sources, and checks that they are keys.

A malformed secret must not be used as a key: every signature would be refused, or a short key could be guessed.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from firsthour.kernel.public_keys import ECDSA, ED25519, PUBLIC_KEY_SCHEMES, PUBLIC_PREFIX, verifying_key
from firsthour.runtime.config.documents import ConfigProblem
from firsthour.runtime.config.yaml_errors import invisible
from schemas.errors import FirstHourError
from schemas.sources import HubHandshake, Source, WebhookSource
from schemas.verification import Secret

if TYPE_CHECKING:
    from firsthour.kernel.config import Config

SECRET_MAX_BYTES: Final = 64 * 1024
KEY_MIN_BYTES: Final = 16
STANDARD: Final = "standard-webhooks"
TOKEN: Final = "token"  # noqa: S105  # a name
"""Stands for a scheme: the secret is the token of `fetch`."""
_PREFIX: Final = "whsec_"
_QUOTES: Final = "\"'\u201c\u201d"


class SecretError(FirstHourError, ValueError):
    """Raised for a secret that cannot be used. `mistake` does not quote the secret."""

    def __init__(self, mistake: str, remedy: str) -> None:
        super().__init__(f"{mistake}; {remedy}")
        self.mistake = mistake
        self.remedy = remedy


class SecretMissingError(SecretError):
    """Raised when a secret is not at the place named in the configuration."""


class UnusableSecretError(SecretError):
    """Raised for a secret that is not a key of its scheme."""


@dataclass(frozen=True)
class Examined:
    """Secrets that cannot be used (`errors`) and missing secrets (`warnings`), each with place and remedy."""

    errors: tuple[ConfigProblem, ...]
    warnings: tuple[str, ...]


def resolve(secret: Secret, environ: Mapping[str, str], directory: Path = Path()) -> str:
    """Return the secret. A relative path is below `directory`. Raises `SecretMissingError`.

    A variable `NAME_FILE` names a file that holds the secret `NAME`.
    """
    value = environ.get(secret.env, "").strip() if secret.env is not None else ""
    if value:
        return value
    path = file_of(secret, environ, directory)
    if path is None:
        raise SecretMissingError(f"the environment variable {secret.env} is not set", "set it to the secret")
    try:
        with path.open("rb") as stream:
            value = stream.read(SECRET_MAX_BYTES).decode("utf-8-sig").strip()
    except (OSError, ValueError) as failure:
        mistake = f"the secret file {path} cannot be read ({type(failure).__name__})"
        raise SecretMissingError(mistake, "write the secret into it") from failure
    if not value:
        raise SecretMissingError(f"the secret file {path} is empty", "write the secret into it")
    return value


def file_of(secret: Secret, environ: Mapping[str, str], directory: Path = Path()) -> Path | None:
    """Return the file that holds the secret, if there is no variable with its value. None: it has no file."""
    if secret.env is None:
        return directory / (secret.file or "")
    named = environ.get(f"{secret.env}_FILE", "").strip()
    return Path(named) if named and not environ.get(secret.env, "").strip() else None


def check(text: str, scheme: str) -> None:
    """Raise `UnusableSecretError` unless the text is a key of the scheme: base64, a public key, or one line of text."""
    if text[0] in _QUOTES and text[-1] in _QUOTES:
        raise UnusableSecretError("it is in quotes", "remove them")
    if scheme in PUBLIC_KEY_SCHEMES or (scheme == STANDARD and text.startswith(PUBLIC_PREFIX)):
        _check_public_key(text, scheme)
        return
    if any(ord(c) < 32 or ord(c) == 127 for c in text) or invisible(text):
        raise UnusableSecretError("it has a line break or an invisible character", "copy it again")
    standard = scheme == STANDARD
    size = len(_decoded(text) if standard else text.encode())
    if size < KEY_MIN_BYTES:
        remedy = "copy it whole" if standard else "agree on a longer one: `openssl rand -hex 32`"
        raise UnusableSecretError(f"it has {size} bytes, fewer than {KEY_MIN_BYTES}", remedy)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        mistake = "it is not base64 after `whsec_`, as Standard Webhooks requires"
        raise UnusableSecretError(mistake, "copy it whole from the sender") from None


def _check_public_key(text: str, scheme: str) -> None:
    try:
        verifying_key(ED25519 if scheme == STANDARD else scheme, text)
    except ValueError:
        wanted = "PEM or base64 (DER) of an ECDSA key" if scheme == ECDSA else "an Ed25519 key of 32 bytes in base64"
        raise UnusableSecretError("it is not the public key of the sender", f"copy it whole: {wanted}") from None


def named(source: Source) -> tuple[tuple[Secret, str], ...]:
    """Return the secrets of a source in the order of the file, each once and with its scheme."""
    if not isinstance(source, WebhookSource):
        return ()
    schemes: dict[Secret, str] = {}
    for scheme in source.verify:
        for secret in scheme.secrets:
            schemes.setdefault(secret, scheme.scheme)
    if isinstance(source.handshake, HubHandshake):
        schemes.setdefault(source.handshake.token, source.handshake.kind)
    if source.fetch is not None and source.fetch.token is not None:
        schemes.setdefault(source.fetch.token, TOKEN)
    return tuple(schemes.items())


def files(config: "Config") -> Iterator[Path]:
    """Yield the files of all secrets."""
    for source in config.sources.sources:
        for secret, _ in named(source):
            if secret.file is not None:
                yield config.directory / secret.file


def stamps(config: "Config") -> tuple[tuple[int, ...] | None, ...]:
    """Return a stamp of each secret file, which changes when the file is created, removed or written."""
    return tuple(stamp(path) for path in files(config))


def stamp(path: Path) -> tuple[int, ...] | None:
    """Return a stamp of this file; None: it cannot be read."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def examine(config: "Config", environ: Mapping[str, str]) -> Examined:
    """Check every secret of every source."""
    errors, warnings = [], []
    for index, source in enumerate(config.sources.sources):
        for secret, scheme in named(source):
            place = config.secret_places.get((index, secret.place), ("sources.yaml", 1, 1))
            try:
                check(resolve(secret, environ, config.directory), scheme)
            except SecretMissingError as missing:
                effect = "thin events" if scheme == TOKEN else "deliveries"
                result = "wait" if scheme == TOKEN else "are refused"
                mistake = f"the {effect} of {source.id} {result}: {missing.mistake}"
                warnings.append(str(ConfigProblem(*place, mistake, missing.remedy)))
            except UnusableSecretError as wrong:
                use = "fetch the thin events of" if scheme == TOKEN else "verify"
                mistake = f"the secret {secret.place} cannot {use} {source.id}: {wrong.mistake}"
                errors.append(ConfigProblem(*place, mistake, wrong.remedy))
    return Examined(tuple(errors), tuple(warnings))
