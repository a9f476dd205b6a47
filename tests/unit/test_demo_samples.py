"""What the demo reads from the worker's metrics."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from stream.demo.figures import cache_hit_ratio, folded, freshness_ms
from stream.demo.samples import Samples, quantile, since
from stream.metrics import Metrics


def scraped(metrics: Metrics) -> Samples:
    return Samples.parse(generate_latest(metrics.registry).decode())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def test_a_counter_is_summed_over_its_labels_and_by_one_of_them(metrics: Metrics) -> None:
    metrics.events.labels("behaviour.click", "accepted", "").inc(3)
    metrics.events.labels("behaviour.click", "rejected", "json").inc(1)
    metrics.events.labels("behaviour.browse", "accepted", "").inc(5)

    samples = scraped(metrics)

    assert samples.total("events_total") == 9
    assert samples.by_label("events_total", "topic") == {"behaviour.click": 4, "behaviour.browse": 5}
    assert samples.total("no_such_metric") == 0


def test_control_records_are_no_behaviour_events(metrics: Metrics) -> None:
    metrics.events.labels("users.control", "accepted", "").inc(3)
    metrics.events.labels("behaviour.ad", "duplicate", "").inc(2)

    assert folded(scraped(metrics)) == 2


def test_the_cache_hit_ratio_is_unknown_before_any_text_was_asked_for(metrics: Metrics) -> None:
    before = cache_hit_ratio(scraped(metrics))
    metrics.vector_hits.inc(2)
    metrics.vector_misses.inc(1)

    assert before is None
    assert cache_hit_ratio(scraped(metrics)) == 0.6667


def test_freshness_since_a_scrape_leaves_out_what_was_before(metrics: Metrics) -> None:
    metrics.freshness.observe(30.0)
    before = scraped(metrics).buckets("freshness_seconds")
    metrics.freshness.observe(0.02)
    metrics.freshness.observe(0.02)

    fresh = since(before, scraped(metrics).buckets("freshness_seconds"))

    assert fresh[-1] == (float("inf"), 2)
    assert freshness_ms(fresh, 1.0) == 25.0  # the bound of their bucket


def test_a_quantile_is_interpolated_within_its_bucket() -> None:
    buckets = [(1.0, 10.0), (2.0, 30.0), (float("inf"), 30.0)]

    assert quantile(buckets, 0.5) == pytest.approx(1.25)  # rank 15: 5 of the 20 in the second bucket
    assert quantile(buckets, 1.0) == pytest.approx(2.0)


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert quantile([(1.0, 0.0), (float("inf"), 4.0)], 0.5) == 1.0


def test_without_observations_there_is_no_quantile() -> None:
    assert quantile([], 0.5) is None
    assert quantile([(1.0, 0.0), (float("inf"), 0.0)], 0.5) is None
