"""Signatures of webhooks: valid signatures hold, and signatures of altered requests fail."""

import base64
import hmac
import random
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from firsthour.runtime.http.signatures import HmacSignature, WebhookSignature, standard
from tests.unit.gateway.harness import HMAC_SECRET, NEXT_SECRET, STANDARD_SECRET

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
BODY = b'{"type":"trial.began","data":{"email":"ann@acme.example","plan":"pro"}}'
FIVE = timedelta(minutes=5)
Headers = dict[bytes, bytes]


def signed(body: bytes = BODY, secret: str = STANDARD_SECRET, at: datetime = NOW) -> Headers:
    return {
        b"webhook-id": b"msg_1",
        b"webhook-timestamp": str(int(at.timestamp())).encode(),
        b"webhook-signature": Webhook(secret).sign("msg_1", at, body.decode()).encode(),
    }


def vendor(
    encoding: str = "hex", digest: str = "sha256", stamped: bool = False, secrets: tuple[str, ...] = (HMAC_SECRET,)
) -> HmacSignature:
    header = b"x-time" if stamped else None
    return HmacSignature(b"x-signature", digest, encoding, b"v0=", header, FIVE, tuple(s.encode() for s in secrets))


def vendor_headers(
    body: bytes = BODY, encoding: str = "hex", digest: str = "sha256", stamp: bytes | None = None
) -> Headers:
    code = hmac.digest(HMAC_SECRET.encode(), body if stamp is None else stamp + b"." + body, digest)
    text = code.hex().encode() if encoding == "hex" else base64.b64encode(code)
    return {b"x-signature": b"v0=" + text} | ({b"x-time": stamp} if stamp else {})


def test_reference_signature_of_standard_webhooks_holds() -> None:
    assert standard((STANDARD_SECRET,), FIVE).holds(signed(), BODY, NOW)


def test_signatures_with_the_old_and_the_new_secret_hold() -> None:
    signature = standard((STANDARD_SECRET, NEXT_SECRET), FIVE)
    assert signature.holds(signed(), BODY, NOW)
    assert signature.holds(signed(secret=NEXT_SECRET), BODY, NOW)
    assert not standard((STANDARD_SECRET,), FIVE).holds(signed(secret=NEXT_SECRET), BODY, NOW)


def test_header_with_one_valid_signature_among_several_holds() -> None:
    headers = signed()
    headers[b"webhook-signature"] = b"v1a,abcd v1,AAAA " + headers[b"webhook-signature"]
    assert standard((STANDARD_SECRET,), FIVE).holds(headers, BODY, NOW)


@pytest.mark.parametrize("offset", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_timestamp_beyond_the_tolerance_fails(offset: timedelta) -> None:
    assert not standard((STANDARD_SECRET,), FIVE).holds(signed(), BODY, NOW + offset)
    stamp = str(int(NOW.timestamp())).encode()
    assert not vendor(stamped=True).holds(vendor_headers(stamp=stamp), BODY, NOW + offset)


def test_timestamp_within_the_tolerance_holds() -> None:
    assert standard((STANDARD_SECRET,), FIVE).holds(signed(), BODY, NOW + FIVE)


@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp", b"webhook-signature"])
@pytest.mark.parametrize("value", [None, b"", b"x", b"\xff", b"-1", b" ", b"9" * 40, b"v1", b"v1,"])
def test_missing_or_malformed_header_fails(name: bytes, value: bytes | None) -> None:
    headers = {key: text for key, text in signed().items() if key != name} | ({} if value is None else {name: value})
    assert not standard((STANDARD_SECRET,), FIVE).holds(headers, BODY, NOW)


def test_webhook_id_with_a_dot_fails() -> None:
    stamp = str(int(NOW.timestamp()))
    signature = Webhook(STANDARD_SECRET).sign("msg.1", NOW, BODY.decode()).encode()
    headers = {b"webhook-id": b"msg.1", b"webhook-timestamp": stamp.encode(), b"webhook-signature": signature}
    assert not standard((STANDARD_SECRET,), FIVE).holds(headers, BODY, NOW)


def test_body_that_is_not_utf8_fails_with_standard_webhooks() -> None:
    assert not standard((STANDARD_SECRET,), FIVE).holds(signed(), b"\xff\xfe", NOW)


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("digest", ["sha256", "sha1"])
@pytest.mark.parametrize("stamp", [None, str(int(NOW.timestamp())).encode()])
def test_hmac_signature_of_a_vendor_holds(encoding: str, digest: str, stamp: bytes | None) -> None:
    assert vendor(encoding, digest, stamp is not None).holds(vendor_headers(BODY, encoding, digest, stamp), BODY, NOW)


def test_hmac_with_an_older_secret_or_in_upper_case_hex_holds() -> None:
    headers = vendor_headers()
    assert vendor(secrets=("new", HMAC_SECRET)).holds(headers, BODY, NOW)
    assert vendor().holds({b"x-signature": b"v0=" + headers[b"x-signature"][3:].upper()}, BODY, NOW)


def test_hmac_signature_without_its_prefix_fails() -> None:
    assert not vendor().holds({b"x-signature": vendor_headers()[b"x-signature"][3:]}, BODY, NOW)


STAMP = str(int(NOW.timestamp())).encode()
CASES: list[tuple[WebhookSignature, Headers]] = [
    (standard((STANDARD_SECRET, NEXT_SECRET), FIVE), signed()),
    (vendor(), vendor_headers()),
    (vendor("base64", "sha1", stamped=True), vendor_headers(BODY, "base64", "sha1", STAMP)),
]


@pytest.mark.parametrize(("signature", "headers"), CASES, ids=["standard", "hex", "base64"])
def test_ten_thousand_altered_requests_all_fail(signature: WebhookSignature, headers: Headers) -> None:
    assert signature.holds(headers, BODY, NOW)
    chance = random.Random(20261201)
    names = [None, *headers]
    for _ in range(10_000):
        name = chance.choice(names)
        altered = _altered(BODY if name is None else headers[name], chance)
        body, altered_headers = (altered, headers) if name is None else (BODY, {**headers, name: altered})
        assert not signature.holds(altered_headers, body, NOW), (name, altered)


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
