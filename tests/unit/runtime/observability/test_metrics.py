"""Metrics: values as Prometheus text, and a bounded number of labels."""

from prometheus_client import REGISTRY

from firsthour.runtime.observability.metrics import Telemetry


def test_exposition_has_every_recorded_value() -> None:
    telemetry = Telemetry()
    telemetry.answered("GET", "/v1/leads/{id}", 200, 0.003)
    telemetry.events_accepted.labels("website").inc(2)
    telemetry.unit("scoring", 0.01, 40)
    telemetry.lag("router", "leads", 7)
    telemetry.dead_letter("router")
    telemetry.page("slack", "sent")
    telemetry.handed_over(1.5)
    telemetry.promise("met")
    telemetry.queues({"emea": 3})
    telemetry.config(False)
    text = telemetry.text().decode()
    for line in (
        'http_requests_total{method="GET",route="/v1/leads/{id}",status="200"} 1.0',
        'http_seconds_count{route="/v1/leads/{id}"} 1.0',
        'events_accepted_total{source="website"} 2.0',
        'units_seconds_count{consumer="scoring"} 1.0',
        'events_handled_total{consumer="scoring"} 40.0',
        'consumer_lag{consumer="router",topic="leads"} 7.0',
        'dead_letters_total{consumer="router"} 1.0',
        'pages_total{channel="slack",outcome="sent"} 1.0',
        'page_lateness_seconds_bucket{le="2.0"} 1.0',
        'promises_total{outcome="met"} 1.0',
        'queue_leads{pool="emea"} 3.0',
        "config_ok 0.0",
    ):
        assert line in text


def test_emptied_queue_of_a_pool_is_zero() -> None:
    telemetry = Telemetry()
    telemetry.queues({"emea": 3, "us": 1})
    telemetry.queues({"us": 2})
    text = telemetry.text().decode()
    assert 'queue_leads{pool="emea"} 0.0' in text
    assert 'queue_leads{pool="us"} 2.0' in text


def test_unknown_methods_share_one_label() -> None:
    telemetry = Telemetry()
    for number in range(50):
        telemetry.answered(f"M{number}", "unmatched", 405, 0.001)
    text = telemetry.text().decode()
    assert 'method="other"' in text
    assert 'method="M1"' not in text


def test_two_instances_count_separately_from_the_global_registry() -> None:
    first, second = Telemetry(), Telemetry()
    first.dead_letter("router")
    assert 'dead_letters_total{consumer="router"}' not in second.text().decode()
    assert not any(metric.name == "dead_letters" for metric in REGISTRY.collect())
