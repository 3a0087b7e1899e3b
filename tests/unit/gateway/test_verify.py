"""Who signed a body: the right signature holds, and nothing that was altered does."""

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


def vendors_own(
    body: bytes = BODY, encoding: str = "hex", digest: str = "sha256", stamp: bytes | None = None
) -> Headers:
    made = hmac.digest(HMAC_SECRET.encode(), body if stamp is None else stamp + b"." + body, digest)
    text = made.hex().encode() if encoding == "hex" else base64.b64encode(made)
    return {b"x-signature": b"v0=" + text} | ({b"x-time": stamp} if stamp else {})


def test_the_reference_signature_of_standard_webhooks_holds() -> None:
    assert standard((STANDARD_SECRET,), FIVE).holds(signed(), BODY, NOW)


def test_both_secrets_hold_while_one_takes_over_from_the_other() -> None:
    both = standard((STANDARD_SECRET, NEXT_SECRET), FIVE)
    assert both.holds(signed(), BODY, NOW)
    assert both.holds(signed(secret=NEXT_SECRET), BODY, NOW)
    assert not standard((STANDARD_SECRET,), FIVE).holds(signed(secret=NEXT_SECRET), BODY, NOW)


def test_one_of_several_signatures_is_enough() -> None:
    headers = signed()
    headers[b"webhook-signature"] = b"v1a,abcd v1,AAAA " + headers[b"webhook-signature"]
    assert standard((STANDARD_SECRET,), FIVE).holds(headers, BODY, NOW)


@pytest.mark.parametrize("off", [timedelta(seconds=301), timedelta(seconds=-301)])
def test_a_timestamp_too_far_off_is_refused(off: timedelta) -> None:
    assert not standard((STANDARD_SECRET,), FIVE).holds(signed(), BODY, NOW + off)
    stamp = str(int(NOW.timestamp())).encode()
    assert not vendor(stamped=True).holds(vendors_own(stamp=stamp), BODY, NOW + off)


def test_a_timestamp_within_the_tolerance_is_taken() -> None:
    assert standard((STANDARD_SECRET,), FIVE).holds(signed(), BODY, NOW + FIVE)


@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp", b"webhook-signature"])
@pytest.mark.parametrize("value", [None, b"", b"x", b"\xff", b"-1", b" ", b"9" * 40, b"v1", b"v1,"])
def test_a_missing_or_broken_header_is_refused(name: bytes, value: bytes | None) -> None:
    headers = {key: text for key, text in signed().items() if key != name} | ({} if value is None else {name: value})
    assert not standard((STANDARD_SECRET,), FIVE).holds(headers, BODY, NOW)


def test_an_id_with_a_point_is_refused_since_it_could_hide_another_timestamp() -> None:
    stamp = str(int(NOW.timestamp()))
    made = Webhook(STANDARD_SECRET).sign("msg.1", NOW, BODY.decode()).encode()
    headers = {b"webhook-id": b"msg.1", b"webhook-timestamp": stamp.encode(), b"webhook-signature": made}
    assert not standard((STANDARD_SECRET,), FIVE).holds(headers, BODY, NOW)


def test_a_body_that_is_no_text_cannot_have_been_signed_by_the_standard() -> None:
    assert not standard((STANDARD_SECRET,), FIVE).holds(signed(), b"\xff\xfe", NOW)


@pytest.mark.parametrize("encoding", ["hex", "base64"])
@pytest.mark.parametrize("digest", ["sha256", "sha1"])
@pytest.mark.parametrize("stamp", [None, str(int(NOW.timestamp())).encode()])
def test_a_vendors_hmac_holds(encoding: str, digest: str, stamp: bytes | None) -> None:
    assert vendor(encoding, digest, stamp is not None).holds(vendors_own(BODY, encoding, digest, stamp), BODY, NOW)


def test_an_older_secret_still_holds_and_upper_case_is_a_spelling() -> None:
    headers = vendors_own()
    assert vendor(secrets=("new", HMAC_SECRET)).holds(headers, BODY, NOW)
    assert vendor().holds({b"x-signature": b"v0=" + headers[b"x-signature"][3:].upper()}, BODY, NOW)


def test_the_prefix_is_part_of_the_signature() -> None:
    assert not vendor().holds({b"x-signature": vendors_own()[b"x-signature"][3:]}, BODY, NOW)


STAMP = str(int(NOW.timestamp())).encode()
CASES: list[tuple[WebhookSignature, Headers]] = [
    (standard((STANDARD_SECRET, NEXT_SECRET), FIVE), signed()),
    (vendor(), vendors_own()),
    (vendor("base64", "sha1", stamped=True), vendors_own(BODY, "base64", "sha1", STAMP)),
]


@pytest.mark.parametrize(("signature", "headers"), CASES, ids=["standard", "hex", "base64"])
def test_of_ten_thousand_altered_requests_none_is_accepted(signature: WebhookSignature, headers: Headers) -> None:
    assert signature.holds(headers, BODY, NOW)
    chance = random.Random(20261201)
    names = [None, *headers]
    for _ in range(10_000):
        name = chance.choice(names)
        altered = _altered(BODY if name is None else headers[name], chance)
        body, given = (altered, headers) if name is None else (BODY, {**headers, name: altered})
        assert not signature.holds(given, body, NOW), (name, altered)


def _altered(text: bytes, chance: random.Random) -> bytes:
    while True:
        place = chance.randrange(len(text) + 1)
        byte = bytes([chance.choice((chance.randrange(256), *b"0 .,+=A/v1"))])
        found = chance.choice(
            (
                text[:place] + byte + text[place:],
                text[:place] + byte + text[place + 1 :],
                text[:place] + text[place + 1 :],
                text[:place],
            )
        )
        if found != text:
            return found
