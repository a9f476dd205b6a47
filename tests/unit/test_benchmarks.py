"""Cheap checks of what the benchmarks stand on; their speed figures are never asserted."""

import json
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.contest import Run
from benchmarks.contestants.job import Job, SharedFold, result_in
from benchmarks.machine import CpuReading, machine, others_cores, read_cpu
from benchmarks.report import keep, median, ratio, table
from benchmarks.shop import EVENT_BYTES, SPAN_MS, START_MS, shop_records
from benchmarks.stream import LOOP, OURS, QUIX, STOCK, figures
from stream.decode import decode_event
from stream.errors import RejectionError
from stream.events import AD_TOPIC, BROWSE_TOPIC, CLICK_TOPIC, PURCHASE_TOPIC, Change


def test_every_event_of_the_shop_has_the_same_size_and_needs_no_change() -> None:
    records = list(shop_records(2_000))

    assert {len(record.value) for record in records} == {EVENT_BYTES}
    assert {decode_event(record.value, record.timestamp_ms).change for record in records} == {Change.NONE}


def test_the_shop_spreads_its_events_over_thirty_days_in_order() -> None:
    times = [record.timestamp_ms for record in shop_records(1_000)]

    assert times == sorted(times)
    assert times[0] == START_MS
    assert times[-1] == START_MS + SPAN_MS // 1_000 * 999


def test_the_same_seed_gives_the_same_shop() -> None:
    assert list(shop_records(50)) == list(shop_records(50))
    assert list(shop_records(50)) != list(shop_records(50, seed=8))


def test_topics_come_in_their_weights() -> None:
    topics = Counter(record.topic for record in shop_records(10_000))

    assert topics[CLICK_TOPIC] == pytest.approx(4_000, rel=0.05)
    assert topics[BROWSE_TOPIC] == pytest.approx(4_000, rel=0.05)
    assert topics[AD_TOPIC] == pytest.approx(1_500, rel=0.1)
    assert topics[PURCHASE_TOPIC] == pytest.approx(500, rel=0.2)


def test_a_category_too_long_for_the_event_size_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes more than 339: give shorter categories"):
        list(shop_records(100, ["c" * 200]))


def test_the_shared_fold_accepts_each_event_once() -> None:
    shared = SharedFold()
    record = next(shop_records(1))
    place = record.topic, 0

    state = shared.fold(place, 5, record.timestamp_ms, record.key, record.value)

    assert state.revision == 1
    with pytest.raises(ValueError, match="offset 5 is replayed"):
        shared.fold(place, 5, record.timestamp_ms, record.key, record.value)


def test_the_shared_fold_refuses_a_key_that_is_not_the_user() -> None:
    record = next(shop_records(1))

    with pytest.raises(RejectionError, match="not the payload's user_id"):
        SharedFold().fold((record.topic, 0), 5, record.timestamp_ms, b"somebody", record.value)


def test_a_result_is_found_in_its_line_only() -> None:
    assert result_in('RESULT {"events": 3, "seconds": 1.5}\n') == {"events": 3, "seconds": 1.5}
    assert result_in("READY\n") is None


def test_a_job_survives_the_command_line() -> None:
    job = Job("127.0.0.1:9092", "tansu", 10, "somewhere", warm_up_events=3)

    assert Job(**json.loads(json.dumps(job._asdict()))) == job


def test_ratios_are_of_medians_and_null_where_a_contestant_failed() -> None:
    runs = {
        OURS: [_run(30_000), _run(90_000), _run(31_000)],
        STOCK: [_run(2_000)],
        QUIX: [],
        LOOP: [_run(62_000)],
    }

    told = figures(runs)

    assert told["ratio_vs_stock_faust"] == 15.5
    assert told["ratio_vs_quix"] is None
    assert told["share_of_aiokafka_loop"] == 0.5
    assert told["events_per_second"] == {OURS: 31_000, STOCK: 2_000, QUIX: None, LOOP: 62_000}
    assert [repeat["events_per_second"] for repeat in told["repeats"][OURS]] == [30_000, 90_000, 31_000]


def test_a_contestant_that_did_not_enter_leaves_its_ratio_null() -> None:
    told = figures({OURS: [_run(30_000)], STOCK: [_run(2_000)], LOOP: [_run(60_000)]})

    assert told["ratio_vs_quix"] is None


def test_nothing_has_no_median_and_no_ratio() -> None:
    assert median([]) is None
    assert ratio(None, 2.0) is None
    assert ratio(2.0, 0.0) is None


def test_a_table_is_markdown_with_even_columns() -> None:
    lines = table(("who", "events/s"), [("a", 12_345), ("bcde", None), ("f", 0.1234)]).splitlines()

    assert lines == [
        "| who  | events/s |",
        "|------|----------|",
        "| a    | 12,345   |",
        "| bcde | failed   |",
        "| f    | 0.123    |",
    ]


def test_figures_are_kept_as_json(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "figures.json"

    keep({"ratio": 1.5, "failed": None}, path)

    assert json.loads(path.read_text(encoding="utf-8")) == {"ratio": 1.5, "failed": None}


def test_others_are_charged_with_what_is_not_our_own() -> None:
    before = CpuReading(at_seconds=10.0, all_seconds=100.0, own_seconds=4.0)
    after = CpuReading(at_seconds=14.0, all_seconds=107.0, own_seconds=9.0)

    assert others_cores(before, after) == 0.5


def test_our_own_cpu_time_never_goes_back() -> None:
    before = read_cpu()

    sum(range(3_000_000))

    after = read_cpu()
    assert after.own_seconds >= before.own_seconds
    assert after.at_seconds > before.at_seconds


def test_the_machine_is_described() -> None:
    told = machine()

    assert {"date", "processor", "cores", "memory_gib", "python"} <= told.keys()
    assert all(told.values())


def _run(rate: float) -> Run:
    return Run(rate, 25.0, 0.1, {"events": 1.0})
