"""Secrets of sources: a malformed secret is an error at its position, a missing secret is a warning."""

import json
from pathlib import Path

import pytest

from firsthour.cli.app import main
from firsthour.runtime.config.source_secrets import UnusableSecretError, check, examine
from tests.unit.runtime.config.harness import ConfigHarness

S = "sources.yaml"


pytestmark = pytest.mark.usefixtures("restored_logging")  # `up` configures the logging of its process


PARTNER = """sources:
  - id: partner
    kind: webhook
    verify: {scheme: SCHEME, secrets: [«{env: PARTNER_SECRET}]}
    events:
      - {type: custom.ping, email: email}
"""
STANDARD = PARTNER.replace("SCHEME", "standard-webhooks")
HMAC = PARTNER.replace("SCHEME", "hmac-sha256, header: X-Signature")
GOOD = "whsec_c2l4dGVlbiBieXRlcyBvciBtb3Jl"
ED25519 = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


@pytest.mark.parametrize(
    ("secret", "mistake"),
    [
        ("whsec_AA==", "it has 1 bytes, fewer than 16; copy it whole"),
        ("whsec_", "it has 0 bytes"),
        (GOOD[:-1], "is not base64 after `whsec_`"),
        (GOOD + "!", "is not base64"),
        (GOOD.replace("J", "J\n"), "it has a line break"),
        (f'"{GOOD}"', "it is in quotes; remove them"),
        (GOOD + "\u200b", "an invisible character; copy it again"),
        ("whsec_c2l4dGVlbiBieXRlcyBv_mJl0000", "is not base64"),
    ],
)
def test_malformed_secret_is_an_error_at_its_position(harness: ConfigHarness, secret: str, mistake: str) -> None:
    place = harness.write(S, STANDARD)
    examined = examine(harness.load(), {"PARTNER_SECRET": secret})
    assert examined.warnings == ()
    (error,) = map(str, examined.errors)
    assert error.startswith(f"{place}: the secret of PARTNER_SECRET cannot verify partner: ")
    assert mistake in error
    assert secret not in error


@pytest.mark.parametrize("secret", ["short", "'sixteen bytes or more'", "sixteen bytes\x00or more", "fifteen bytes.."])
def test_malformed_secret_of_an_hmac_is_an_error(harness: ConfigHarness, secret: str) -> None:
    harness.write(S, HMAC)
    assert len(examine(harness.load(), {"PARTNER_SECRET": secret}).errors) == 1


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        (GOOD, "standard-webhooks"),
        (GOOD[6:], "standard-webhooks"),
        ("whpk_" + ED25519, "standard-webhooks"),
        (ED25519, "ed25519"),
        ("a secret of the telephone system", "hmac-sha256"),
        ("a secret of the telephone system", "url-token"),
    ],
)
def test_well_formed_secret_is_accepted(text: str, scheme: str) -> None:
    check(text, scheme)
    with pytest.raises(UnusableSecretError):
        check(text[:8], scheme)


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa-sha256"])
@pytest.mark.parametrize(
    "text", ["a secret of the telephone system", "-----BEGIN PUBLIC KEY-----", "AAAA", "\u00e9" * 20]
)
def test_text_that_is_no_public_key_is_an_error(scheme: str, text: str) -> None:
    with pytest.raises(UnusableSecretError, match="copy it whole"):
        check(text, scheme)


def test_unset_variable_of_a_secret_is_a_warning_at_its_position(harness: ConfigHarness) -> None:
    place = harness.write(S, STANDARD)
    examined = examine(harness.load(), {"PARTNER_SECRET": " "})
    assert examined.errors == ()
    (warning,) = examined.warnings
    assert warning == (
        f"{place}: the deliveries of partner are refused: the environment variable PARTNER_SECRET is not set; set it to the secret"
    )


def test_missing_one_of_two_secrets_is_a_warning(harness: ConfigHarness) -> None:
    harness.write(S, STANDARD.replace("«{env: PARTNER_SECRET}", "{env: PARTNER_SECRET}, «{file: next.secret}"))
    assert len(examine(harness.load(), {"PARTNER_SECRET": GOOD}).warnings) == 1
    (harness.directory / "next.secret").write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n")
    assert examine(harness.load(), {"PARTNER_SECRET": GOOD}) == examine(harness.load(), {"PARTNER_SECRET": GOOD[6:]})


@pytest.mark.parametrize(
    "command", [("agreement", "check", "{}"), ("up", "--config", "{}", "--port", "0"), ("doctor", "--config", "{}")]
)
def test_commands_report_a_malformed_secret_and_do_not_start(
    harness: ConfigHarness,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    place = harness.write(S, STANDARD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PARTNER_SECRET", "whsec_AA==")
    with pytest.raises(SystemExit) as ended:
        main([word.format(harness.directory) for word in command])
    output = "".join(capfd.readouterr())
    assert (ended.value.code, f"{place}: the secret of PARTNER_SECRET" in output) == (
        1 if command[0] == "doctor" else 2,
        True,
    )
    assert not (tmp_path / "data").exists()


def test_agreement_check_warns_of_an_unset_variable(
    harness: ConfigHarness, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    harness.write(S, STANDARD)
    monkeypatch.delenv("PARTNER_SECRET", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["agreement", "check", str(harness.directory), "--json"])
    output = json.loads(capfd.readouterr().out)
    assert (ended.value.code, output["ok"], "PARTNER_SECRET is not set" in output["warnings"][-1]) == (0, True, True)
