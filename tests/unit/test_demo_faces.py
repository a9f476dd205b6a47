"""What the demo prints, as lines and as a screen."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from stream.demo.figures import Summary, TopicFigures, View
from stream.demo.lines import Lines, figures_line, summary_rows
from stream.demo.phrases import DecisionPhrase, UpdatePhrase
from stream.demo.screen import Screen, picture
from tests.fakes_model import SteppedClock

VIEW = View(
    virtual_ms=1_509_321_600_000,  # 2017-10-30 00:00
    speed=5000.0,
    users=300,
    elapsed_seconds=12.0,
    seconds=60.0,
    topics=[TopicFigures("behaviour.click", 3.0, 40), TopicFigures("behaviour.browse", 4.0, 50)],
    updates=7,
    decisions=6,
    dead_letters=0,
    freshness_p50_ms=149.0,
    freshness_p99_ms=None,
    model_calls=33,
    model_calls_per_second=2.0,
    cache_hit_ratio=0.9591,
    due_users=1,
    latest_updates=[UpdatePhrase("42", "milk 50%", "purchase just now ([milk])")],
    latest_decisions=[DecisionPhrase("42", "campaign 18", "best_value")],
)
SUMMARY = Summary(
    data="The Complete Journey",
    users=300,
    speed=5000.0,
    virtual_from="2017-08-07T00:00:00+00:00",
    virtual_until="2017-10-31T00:00:00+00:00",
    events={"behaviour.click": 40},
    events_total=40,
    history_events=30,
    generated_events=20,
    outcomes={"accepted": 40},
    updates=7,
    updates_by_source={"model": 7},
    decisions=6,
    decisions_filled=5,
    dead_letters=0,
    model_calls=33,
    cache_hit_ratio=0.9591,
    freshness_p50_ms=149.0,
    freshness_p99_ms=248.0,
    freshness_count=5,
    started_seconds=11.9,
    first_update_seconds=13.8,
    history_seconds=11.7,
    paced_seconds=20.0,
    total_seconds=45.2,
    caught_up=True,
    interrupted=False,
)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def test_a_line_has_all_figures_and_a_dash_for_what_was_not_measured() -> None:
    assert figures_line(VIEW) == (
        "12 s  2017-10-30 00:00  90 events (7/s)  7 updates  6 decisions  0 dead letters  freshness p50 149 ms p99 -  "
        "33 model calls (2/s)  cache hits 95.9%  1 due"
    )


def test_lines_come_every_few_seconds_however_often_there_is_news(clock: SteppedClock) -> None:
    written: list[str] = []
    lines = Lines(clock, written.append)

    lines.progress("history: folding", 0.2)
    clock.seconds += 1
    lines.progress("history: folding", 0.4)
    clock.seconds += 5
    lines.progress("history: folding", 0.9)

    assert written == ["history: folding, 20%", "history: folding, 90%"]


def test_a_step_of_the_start_is_told_with_its_time(clock: SteppedClock) -> None:
    written: list[str] = []

    with Lines(clock, written.append).step("worker"):
        clock.seconds += 2.5

    assert written == ["worker: ready after 2.5 s"]


def test_a_step_that_fails_is_not_told_as_ready(clock: SteppedClock) -> None:
    written: list[str] = []

    with pytest.raises(RuntimeError), Lines(clock, written.append).step("worker"):
        raise RuntimeError

    assert written == []


@pytest.mark.parametrize(
    ("summary", "ending"),
    [
        (SUMMARY, "all events folded, nobody due"),
        (replace(SUMMARY, interrupted=True, caught_up=False), "on request, before its time"),
        (replace(SUMMARY, caught_up=False), "NOT caught up: see the worker's log"),
    ],
)
def test_the_sum_begins_with_how_it_ended(summary: Summary, ending: str) -> None:
    assert summary_rows(summary)[0] == ("ended", ending)


def test_the_sum_says_how_many_events_no_one_did() -> None:
    rows = dict(summary_rows(SUMMARY))

    assert rows["of these"] == "30 history, 20 generated (no one did them)"
    assert rows["freshness"] == "p50 149 ms, p99 248 ms over 5 updates of the paced part"


def test_the_screen_shows_figures_updates_and_decisions_word_for_word() -> None:
    console = Console(file=io.StringIO(), width=140, height=40, force_terminal=False)

    console.print(picture(VIEW))

    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("Mon 2017-10-30 00:00", "12 of 60 s", "149 ms / -", "95.9%", "purchase just now ([milk])"):
        assert text in shown
    assert "campaign 18" in shown


def test_the_screen_goes_from_bars_to_pictures_to_the_sum(clock: SteppedClock) -> None:
    console = Console(file=io.StringIO(), width=140, height=40, force_terminal=True)
    screen = Screen(console, clock)

    with screen.step("worker"):
        clock.seconds += 1
    screen.progress("history: sending", 0.5)
    screen.progress("history: folding", 0.5)
    screen.show(VIEW)
    screen.progress("last events: folding", 0.5)
    screen.finish(SUMMARY)

    shown = console.file.getvalue()  # type: ignore[attr-defined]
    order = [
        shown.index(text)
        for text in ("worker", "history: folding", "latest interest updates", "all events folded")
    ]
    assert order == sorted(order)
    assert "last events" not in shown
