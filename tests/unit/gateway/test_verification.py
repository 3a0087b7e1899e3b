"""Proofs of requests: those of the sender hold, and those of altered, old or foreign requests fail with their reason."""

import base64
import hashlib
import hmac
import importlib
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from msgspec.structs import replace
from pydantic import TypeAdapter
from standardwebhooks.webhooks import Webhook

from schemas.verification import Scheme
from services.gateway.domain.verification.request import SignedRequest, Verification
from services.gateway.domain.verification.standard import standard_signature
from services.gateway.domain.verification.verifier import Verifier, verification
from tests.unit.gateway.harness import HMAC_SECRET, NEXT_SECRET, STANDARD_SECRET

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
STAMP = str(int(NOW.timestamp())).encode()
BODY = (
    b'{"type":"trial.began","data":{"email":"ann@acme.example","plan":"pro"},"key":"a secret of the telephone system"}'
)
URL = b"https://leads.acme.example/hooks/phone?a=1%2F2&b=c%20d"
KEY = HMAC_SECRET.encode()
FIVE = timedelta(minutes=5)
ECDSA_KEY = ec.generate_private_key(ec.SECP256R1())
ED25519_KEY = ed25519.Ed25519PrivateKey.generate()
ECDSA_PUBLIC = base64.b64encode(
    ECDSA_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
ED25519_PUBLIC = base64.b64encode(ED25519_KEY.public_key().public_bytes_raw()).decode()
Headers = dict[bytes, bytes]


def proof(secret: str = HMAC_SECRET, **scheme: Any) -> Verification:
    settings = {"secrets": [{"env": "X"}], **scheme}
    parsed: Scheme = TypeAdapter[Scheme](Scheme).validate_python(settings)
    return verification(parsed, [secret])


def signed(body: bytes = BODY, secret: str = STANDARD_SECRET, at: datetime = NOW, id: str = "msg_1") -> Headers:
    return {
        b"webhook-id": id.encode(),
        b"webhook-timestamp": str(int(at.timestamp())).encode(),
        b"webhook-signature": Webhook(secret).sign(id, at, body.decode()).encode(),
    }


def hexed(text: bytes, digest: str = "sha256") -> bytes:
    return hmac.new(KEY, text, digest).hexdigest().encode()


def based(text: bytes, digest: str = "sha256") -> bytes:
    return base64.b64encode(hmac.digest(KEY, text, digest))


class ProofCase(NamedTuple):
    """A proof, and the request that it holds for."""

    proof: Verification
    request: SignedRequest
    timed: bool
    free: tuple[bytes, ...] = ()
    """Headers that the proof does not cover."""


def case(request_headers: Headers, *, secret: str = HMAC_SECRET, timed: bool = False, **scheme: Any) -> ProofCase:
    request = SignedRequest(request_headers, BODY, b"POST", URL, HMAC_SECRET.encode(), lambda: json.loads(BODY))
    return ProofCase(proof(secret, **scheme), request, timed)


CASES: dict[str, ProofCase] = {
    "standard": case(signed(), secret=STANDARD_SECRET, timed=True, scheme="standard-webhooks"),
    "svix": case(
        {name.replace(b"webhook", b"svix"): value for name, value in signed().items()},
        secret=STANDARD_SECRET,
        timed=True,
        scheme="standard-webhooks",
        header_prefix="svix",
    ),
    "standard, public key": case(
        {
            **signed(),
            b"webhook-signature": b"v1a," + base64.b64encode(ED25519_KEY.sign(b"msg_1." + STAMP + b"." + BODY)),
        },
        secret="whpk_" + ED25519_PUBLIC,
        timed=True,
        scheme="standard-webhooks",
    ),
    "hex": case(
        {b"x-signature": b"sha256=" + hexed(BODY)}, scheme="hmac-sha256", header="X-Signature", prefix="sha256="
    ),
    "base64 sha1": case(
        {b"x-signature": based(BODY, "sha1")}, scheme="hmac-sha1", header="X-Signature", encoding="base64"
    ),
    "base64url sha512": case(
        {b"x-signature": base64.urlsafe_b64encode(hmac.digest(KEY, BODY, "sha512")).rstrip(b"=")},
        scheme="hmac-sha512",
        header="X-Signature",
        encoding="base64url",
    ),
    "timestamp": case(
        {b"x-signature": hexed(STAMP + b"." + BODY), b"x-time": STAMP},
        timed=True,
        scheme="hmac-sha256",
        header="X-Signature",
        timestamp_header="X-Time",
    ),
    "text before the timestamp": case(
        {b"x-signature": b"v0=" + hexed(b"v0:" + STAMP + b":" + BODY), b"x-time": STAMP},
        timed=True,
        scheme="hmac-sha256",
        header="X-Signature",
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp_header="X-Time",
    ),
    "fields of a header": case(
        {b"x-signature": b"t=" + STAMP + b",v1=" + hexed(STAMP + b"." + BODY)},
        timed=True,
        scheme="hmac-sha256",
        header="X-Signature",
        signature_field="v1",
        timestamp_field="t",
    ),
    "method, address and milliseconds": case(
        {b"x-signature": based(b"POST" + URL + BODY + STAMP + b"000"), b"x-time": STAMP + b"000"},
        timed=True,
        scheme="hmac-sha256",
        header="X-Signature",
        encoding="base64",
        signed="{method}{url}{body}{timestamp}",
        timestamp_header="X-Time",
        timestamp_unit="ms",
    ),
    "decoded address": case(
        {b"x-signature": hexed(URL.replace(b"%2F", b"/") + BODY)},
        scheme="hmac-sha256",
        header="X-Signature",
        signed="{decoded_url}{body}",
    ),
    "digest": case(
        {b"x-signature": hashlib.sha256(KEY + b"POST" + URL + BODY).hexdigest().encode()},
        scheme="sha256",
        header="X-Signature",
        signed="{secret}{method}{url}{body}",
    ),
    "ecdsa": case(
        {
            b"x-signature": base64.b64encode(ECDSA_KEY.sign(STAMP + BODY, ec.ECDSA(hashes.SHA256()))),
            b"x-time": STAMP,
        },
        secret=ECDSA_PUBLIC,
        timed=True,
        scheme="ecdsa-sha256",
        header="X-Signature",
        encoding="base64",
        signed="{timestamp}{body}",
        timestamp_header="X-Time",
    ),
    "ed25519": case(
        {b"x-signature": ED25519_KEY.sign(STAMP + BODY).hex().encode(), b"x-time": STAMP},
        secret=ED25519_PUBLIC,
        timed=True,
        scheme="ed25519",
        header="X-Signature",
        signed="{timestamp}{body}",
        timestamp_header="X-Time",
    ),
    "header": case({b"x-key": b"Token " + KEY}, scheme="header", header="X-Key", prefix="Token "),
    "basic": case({b"authorization": b"Basic " + base64.b64encode(b"ann:" + KEY)}, scheme="basic", username="ann"),
    "token in the path": case({}, scheme="url-token"),
    "key in the body": case({}, scheme="body-key", key="key"),
}
SIGNED = {name: one for name, one in CASES.items() if one.request.headers and name not in ("header", "basic")}


@pytest.mark.parametrize("name", CASES)
def test_proof_of_the_sender_holds(name: str) -> None:
    proof, request, timed, _ = CASES[name]
    verdict = proof.check(request, NOW)
    assert (verdict.fault, verdict.timed) == ("", timed)


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", SIGNED)
def test_altered_requests_all_fail(name: str, count: int) -> None:
    proof, request, _, _ = SIGNED[name]
    chance = random.Random(20261201 + count)
    names = [None, *request.headers]
    for _ in range(count):
        changed = chance.choice(names)
        text = _altered(request.body if changed is None else request.headers[changed], chance)
        altered = (
            replace(request, body=text)
            if changed is None
            else replace(request, headers={**request.headers, changed: text})
        )
        assert not proof.check(altered, NOW).holds, (changed, text)


@pytest.mark.parametrize("name", CASES)
def test_request_without_its_proof_fails_with_a_reason(name: str) -> None:
    proof, request, _, _ = CASES[name]
    verdict = proof.check(SignedRequest({}, request.body), NOW)
    assert not verdict.holds
    assert "missing" in verdict.fault or "no secret" in verdict.fault
    assert HMAC_SECRET not in verdict.fault


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "value", [b"", b"x", b"\xff", b"-1", b" ", b"9" * 40, b"v1", b"v1,", b"=,=", b"t=1,t=2", b"a" * 9_000]
)
def test_malformed_headers_fail(name: str, value: bytes) -> None:
    proof, request, _, _ = CASES[name]
    for header in request.headers:
        assert not proof.check(replace(request, headers={**request.headers, header: value}), NOW).holds


@pytest.mark.parametrize("name", [name for name, one in CASES.items() if one.timed])
@pytest.mark.parametrize(("offset", "words"), [(301, "301 s old"), (-301, "301 s in the future")])
def test_timestamp_beyond_the_tolerance_fails(name: str, offset: int, words: str) -> None:
    proof, request, _, _ = CASES[name]
    assert words in proof.check(request, NOW + timedelta(seconds=offset)).fault
    assert proof.check(request, NOW + FIVE).holds


@pytest.mark.parametrize("name", [name for name in CASES if name != "token in the path" and name != "key in the body"])
def test_another_secret_fails(name: str) -> None:
    _, request, _, _ = CASES[name]
    others: dict[str, Callable[[], Verification]] = {
        "standard": lambda: proof(NEXT_SECRET, scheme="standard-webhooks"),
        "header": lambda: proof("another secret of a sender", scheme="header", header="X-Key", prefix="Token "),
        "basic": lambda: proof("another secret of a sender", scheme="basic", username="ann"),
        "hex": lambda: proof("another secret", scheme="hmac-sha256", header="X-Signature", prefix="sha256="),
    }
    if name in others:
        assert "none of 1" in others[name]().check(request, NOW).fault


def test_signatures_with_the_old_and_the_new_secret_hold_and_name_theirs() -> None:
    both = standard_signature((STANDARD_SECRET, NEXT_SECRET), FIVE)
    for index, secret in enumerate((STANDARD_SECRET, NEXT_SECRET)):
        verdict = both.check(SignedRequest(signed(secret=secret), BODY), NOW)
        assert (verdict.holds, verdict.secret) == (True, index)
    alone = standard_signature((STANDARD_SECRET,), FIVE)
    assert not alone.check(SignedRequest(signed(secret=NEXT_SECRET), BODY), NOW).holds


def test_header_with_one_valid_signature_among_several_holds() -> None:
    headers = signed()
    headers[b"webhook-signature"] = b"v1a,abcd v1,AAAA " + headers[b"webhook-signature"]
    assert standard_signature((STANDARD_SECRET,), FIVE).check(SignedRequest(headers, BODY), NOW).holds


def test_webhook_id_with_a_dot_and_a_body_that_is_not_text_fail() -> None:
    standard = standard_signature((STANDARD_SECRET,), FIVE)
    assert "has a dot" in standard.check(SignedRequest(signed(id="msg.1"), BODY), NOW).fault
    assert "not UTF-8" in standard.check(SignedRequest(signed(), b"\xff\xfe"), NOW).fault


def test_upper_case_hex_holds_and_mixed_case_fails() -> None:
    proof, request, _, _ = CASES["hex"]
    value = request.headers[b"x-signature"]
    upper = value[:7] + value[7:].upper()
    assert proof.check(replace(request, headers={b"x-signature": upper}), NOW).holds
    letter = next(i for i in range(7, len(value)) if value[i : i + 1].isalpha())
    mixed = value[:letter] + value[letter : letter + 1].upper() + value[letter + 1 :]
    assert not proof.check(replace(request, headers={b"x-signature": mixed}), NOW).holds


def test_form_fields_are_signed_in_the_order_of_their_names() -> None:
    address = "https://leads.acme.example/hooks/calls"
    text = f"{address}CallSid CA1From+4930123456".replace(" ", "")
    by_fields = proof(scheme="hmac-sha1", header="X-Signature", encoding="base64", signed="{url}{fields}")
    request = SignedRequest(
        {b"x-signature": based(text.encode(), "sha1")}, b"From=%2B4930123456&CallSid=CA1", url=address.encode()
    )
    assert by_fields.check(request, NOW).holds
    assert not by_fields.check(replace(request, body=b"From=%2B4930123457&CallSid=CA1"), NOW).holds


def test_query_parameter_with_the_secret_holds_once() -> None:
    in_query = proof(scheme="url-token", parameter="key")
    address = b"https://leads.acme.example/hooks/phone?key=a+secret%20of+the+telephone+system"
    assert in_query.check(SignedRequest({}, BODY, url=address), NOW).holds
    assert not in_query.check(SignedRequest({}, BODY, url=address + b"&key=x"), NOW).holds


@pytest.mark.parametrize("value", [None, 1, ["a"], {"key": None}, {"key": {"a": 1}}, {"other": HMAC_SECRET}])
def test_body_without_its_key_fails(value: Any) -> None:
    in_body = proof(scheme="body-key", key="key")
    assert not in_body.check(SignedRequest({}, BODY, value=lambda: value), NOW).holds


def test_one_of_several_proofs_suffices_and_its_secret_is_counted_among_all() -> None:
    several = Verifier((CASES["timestamp"].proof, CASES["header"].proof), (0, 2))
    verdict = several.check(CASES["header"].request, NOW)
    assert (verdict.holds, verdict.secret, verdict.timed) == (True, 2, False)
    fault = several.check(SignedRequest({}, BODY), NOW).fault
    assert fault == "the header x-signature is missing; the header x-key has no secret"


def _altered(text: bytes, chance: random.Random) -> bytes:
    while True:
        place = chance.randrange(len(text) + 1)
        byte = bytes([chance.choice((chance.randrange(256), *b"0 .,+=A/v1"))])
        altered = chance.choice(
            (
                text[:place] + byte + text[place:],
                text[:place] + byte + text[place + 1 :],
                text[:place] + text[place + 1 :],
                text[:place],
            )
        )
        if altered != text:
            return altered


def test_signature_of_the_svix_library_holds() -> None:
    svix = importlib.import_module("svix.webhooks")
    signature = svix.Webhook(STANDARD_SECRET).sign("msg_1", NOW, BODY.decode())
    headers = {b"svix-id": b"msg_1", b"svix-timestamp": STAMP, b"svix-signature": signature.encode()}
    assert standard_signature((STANDARD_SECRET,), FIVE, "svix").check(SignedRequest(headers, BODY), NOW).holds
