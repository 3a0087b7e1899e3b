"""Mail addresses as a mail server takes them."""

import pytest

from schemas.mail import deliverable, trouble


@pytest.mark.parametrize(
    ("address", "sent_to"),
    [
        ("ana@acme.example", "ana@acme.example"),
        ("ana@bücher.example", "ana@xn--bcher-kva.example"),
        ("ana@Straße.example", "ana@xn--strae-oqa.example"),
        ("ana@例え.jp", "ana@xn--r8jz45g.jp"),
        ("ana@sub.köln.example", "ana@sub.xn--kln-sna.example"),
    ],
)
def test_international_domain_is_encoded(address: str, sent_to: str) -> None:
    assert deliverable(address) == sent_to


@pytest.mark.parametrize(
    "address",
    [
        "änne@acme.example",
        "ana@-acme.example",
        "ana@acme_x.example",
        "ana@" + "a" * 64 + ".example",
        "ana..b@acme.example",
        '"ana"@acme.example',
        "ana@\u200b.example",
        "ana",
        "@acme.example",
        "ana@" + "ö" * 60 + "." + "ö" * 60 + ".example",
    ],
)
def test_undeliverable_address_has_a_reason(address: str) -> None:
    assert deliverable(address) is None
    assert trouble(address)
