"""Checks of webhooks in `sources.yaml` beyond their shape: captured deliveries, facts that only the product states."""

import pytest

from firsthour.runtime.config.reading import ConfigError
from tests.unit.runtime.config.harness import ConfigHarness

SOURCE = """
sources:
  - id: phone
    kind: webhook
    verify: {{scheme: hmac-sha256, header: X-Signature, secrets: [{{env: PHONE_SECRET}}]{verify}}}
    events:
      - {{type: custom.call, email: email{event}}}
"""


def said(harness: ConfigHarness, verify: str = "", event: str = "") -> list[str]:
    harness.write("sources.yaml", SOURCE.format(verify=verify, event=event))
    return [warning for warning in harness.load().warnings if "captured delivery" in warning]


def test_a_webhook_that_tells_no_time_is_named_with_the_remedy(harness: ConfigHarness) -> None:
    [warning] = said(harness)
    assert "sources.yaml:7:9: this event has no time" in warning
    assert "map `time`" in warning
    assert "`timestamp_header`" in warning


@pytest.mark.parametrize(("verify", "event"), [(", timestamp_header: X-Time", ""), ("", ", time: ended_at")])
def test_a_webhook_that_tells_a_time_is_not_warned_of(harness: ConfigHarness, verify: str, event: str) -> None:
    assert said(harness, verify, event) == []


@pytest.mark.parametrize("fact", ["account.owner", "status", "email.kind", "total", "previous_owner"])
def test_a_mapping_to_a_fact_of_the_product_is_refused_with_the_remedy(harness: ConfigHarness, fact: str) -> None:
    with pytest.raises(ConfigError, match=r"only FirstHour may state `.*`; map it to `custom\."):
        said(harness, event=f", time: t, data: {{{fact}: x}}")
