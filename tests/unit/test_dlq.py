"""Dead letters as a tool, the pure part: read, chosen, shown, counted, replayed, purged."""

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from stream.dead_letter import dead_letter
from stream.dlq.cures import CURES, cure
from stream.dlq.letters import (
    Letter,
    Ordered,
    Place,
    Selection,
    is_marker,
    marked_place,
    parse_place,
    read_letter,
)
from stream.dlq.purging import Purge, last_offsets, purge_text
from stream.dlq.replaying import Rules, marker_headers, obstacle, replay_of, replay_text
from stream.dlq.show import document, escaped, preview, table, time_text, why
from stream.dlq.stats import Stats
from stream.dlq.times import moment_ms
from stream.errors import ConfigurationError, RejectionError
from stream.events import CLICK_TOPIC, CONTROL_TOPIC, DEAD_LETTER_TOPIC, Reason
from stream.partitioner import partitioner
from tests.builders import NOW_MS, Record

HOUR_MS = 3_600_000
SENT = ("sent-at-ms", b"5")
RULES = Rules(partitioner("murmur2", 4), max_attempts=5)


def letter(place: str = "2:17", *, written_ms: int = NOW_MS, reason: str = "json", **source: Any) -> Letter:
    """As FOLD writes it for a click and as it is read again."""
    record = Record(**{"value": b"{not json", "partition": 2, "offset": 77, **source})
    written = dead_letter(record, RejectionError(reason, "no object"), "1.2.3")
    where = parse_place(place)
    return read_letter(
        Record(DEAD_LETTER_TOPIC, *where, written_ms, written.key, written.value, written.headers)
    )


def foreign(**headers: bytes) -> Letter:
    """Of somebody else."""
    return read_letter(Record(DEAD_LETTER_TOPIC, 0, 3, value=b"x", headers=list(headers.items())))


# -- read --------------------------------------------------------------------------------------------------------


def test_a_letter_says_what_it_was_and_why() -> None:
    read = letter(reason="root")

    assert (read.place, read.timestamp_ms, read.key, read.value) == (
        Place(2, 17),
        NOW_MS,
        b"u1",
        b"{not json",
    )
    assert (read.reason, read.message, read.attempt) == ("root", "no object", 1)
    assert (read.topic, read.partition, read.offset, read.is_cut) == (CLICK_TOPIC, 2, 77, False)


def test_a_letter_of_somebody_else_is_one_too() -> None:
    read = foreign(**{"__streams.errors.partition": b"9" * 30, "interestflow.attempt": b"x"})

    assert (read.reason, read.topic, read.partition, read.offset, read.attempt) == (
        "unknown",
        "unknown",
        -1,
        -1,
        1,
    )


def test_a_letter_whose_value_was_too_large_is_cut() -> None:
    assert letter(value=b"x" * 70_000).is_cut
    assert letter(key=b"x" * 70_000).is_cut


def test_a_marker_is_no_letter_and_names_the_one_that_was_replayed() -> None:
    marker = Record(DEAD_LETTER_TOPIC, 2, 20, headers=marker_headers(Place(2, 17)))

    assert (is_marker(marker), marked_place(marker)) == (True, Place(2, 17))
    assert (is_marker(Record()), marked_place(Record())) == (False, None)


@pytest.mark.parametrize("content", [b"", b"x", b"1:17", b"2:20", b"2:21", b"\xff"])
def test_a_marker_that_names_no_earlier_letter_of_its_partition_marks_nothing(content: bytes) -> None:
    marker = Record(DEAD_LETTER_TOPIC, 2, 20, headers=[("interestflow.replayed", content)])

    assert (is_marker(marker), marked_place(marker)) == (True, None)


@pytest.mark.parametrize("text", ["", "2", "2:", "a:1", "2:17:3", "-1:2"])
def test_what_is_no_place_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no place of a dead letter: .* such as 2:17"):
        parse_place(text)


# -- chosen ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "takes"),
    [
        (Selection(), True),
        (Selection(reasons=frozenset({"json", "utf8"})), True),
        (Selection(reasons=frozenset({"utf8"})), False),
        (Selection(topics=frozenset({CONTROL_TOPIC})), False),
        (Selection(partitions=frozenset({2})), True),
        (Selection(partitions=frozenset({3})), False),
        (Selection(places=frozenset({Place(2, 17)})), True),
        (Selection(places=frozenset({Place(2, 18)})), False),
        (Selection(since_ms=NOW_MS), True),
        (Selection(since_ms=NOW_MS + 1), False),
        (Selection(reasons=frozenset({"json"}), topics=frozenset({CONTROL_TOPIC})), False),
    ],
)
def test_a_letter_is_taken_if_it_fits_everything_that_was_said(selection: Selection, *, takes: bool) -> None:
    assert selection.takes(letter()) is takes


@pytest.mark.parametrize(("newest", "kept"), [(True, ["0:2", "1:1"]), (False, ["1:0", "0:1"])])
def test_the_newest_or_the_oldest_are_kept_and_given_in_order(*, newest: bool, kept: list[str]) -> None:
    ordered = Ordered(2, newest=newest)
    for place, hours in (("0:1", 1), ("0:2", 3), ("1:0", 0), ("1:1", 4)):
        ordered.show(letter(place, written_ms=NOW_MS + hours * HOUR_MS))

    assert [str(one.place) for one in ordered.letters()] == kept
    assert ordered.left_out == 2


def test_letters_of_one_moment_keep_their_order() -> None:
    ordered = Ordered(3, newest=False)
    for place in ("0:3", "0:1", "0:2", "0:10"):
        ordered.show(letter(place))

    assert [str(one.place) for one in ordered.letters()] == ["0:1", "0:2", "0:3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW_MS - 90_000),
        ("5m", NOW_MS - 300_000),
        ("24h", NOW_MS - 24 * HOUR_MS),
        ("7d", NOW_MS - 7 * 24 * HOUR_MS),
        ("2023-11-14", 1_699_920_000_000),
        ("2023-11-14T22:13:20", NOW_MS),
        ("2023-11-14T23:13:20+01:00", NOW_MS),
    ],
)
def test_a_time_is_so_long_ago_or_a_date_in_utc(text: str, expected: int) -> None:
    assert moment_ms(text, NOW_MS) == expected


def test_what_is_no_time_is_refused_with_examples() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'yesterday' is no time: write how long ago \(90m, 24h, 7d\)"
    ):
        moment_ms("yesterday", NOW_MS)


# -- shown -------------------------------------------------------------------------------------------------------


def test_every_reason_has_a_cure_of_one_sentence() -> None:
    assert {str(reason) for reason in Reason} <= CURES.keys()
    for sentence in CURES.values():
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert ". " not in sentence
    assert cure("of the future").startswith("This release does not know the reason")


def test_the_list_has_a_line_for_each_letter_and_nothing_of_key_and_value() -> None:
    text = table([letter(), letter("0:3", reason="utf8")], [False, True])

    assert text.split("\n") == [
        "letter  written (UTC)        reason  record                attempt  replayed  message",
        "2:17    2023-11-14 22:13:20  json    behaviour.click 2:77  1        no        no object",
        "0:3     2023-11-14 22:13:20  utf8    behaviour.click 2:77  1        yes       no object",
    ]


def test_a_line_of_json_has_nothing_of_key_and_value() -> None:
    assert document(letter(), was_replayed=True) == {
        "letter": "2:17",
        "written_at_ms": NOW_MS,
        "reason": "json",
        "topic": CLICK_TOPIC,
        "partition": 2,
        "offset": 77,
        "attempt": 1,
        "replayed": True,
        "cut": False,
        "message": "no object",
    }
    assert orjson.dumps(document(foreign(), was_replayed=False))


def test_why_says_what_to_do_and_shows_all_that_the_letter_holds() -> None:
    text = why(
        letter(headers=[("interestflow.attempt", b"2"), ("interestflow.dead-letter", b"1:5")]),
        was_replayed=False,
    )

    assert text.split("\n")[:9] == [
        "letter           2:17, written 2023-11-14 22:13:20 UTC",
        "reason           json",
        "message          no object",
        "record           behaviour.click 2:77",
        "attempt          2, replayed from 1:5",
        "replayed         no",
        "to do            Let the producer send exactly one JSON object, uncompressed and without a byte order mark.",
        "key (2 bytes)    u1",
        "value (9 bytes)  {not json",
    ]
    assert "  interestflow.app-version     1.2.3" in text
    assert text.endswith("stream.errors.RejectionError: json: no object")


def test_nothing_of_a_letter_commands_a_terminal() -> None:
    hostile = letter(key=b"\x1b[2J\xff\n", value="\u202eevil\r\x9b".encode(), topic="a\x1bb")
    texts = [
        why(hostile, was_replayed=False),
        table([hostile], [False]),
        why(foreign(**{"\x1bh": b"\x07"}), was_replayed=False),
    ]

    assert all(line.isprintable() for text in texts for line in text.split("\n"))
    assert r"\x1b[2J\xff\n" in texts[0]
    assert r"\u202eevil\r\x9b" in texts[0]


def test_a_long_value_is_shown_by_its_start_and_null_as_such() -> None:
    assert preview(b"x" * 60_000) == "x" * 1999 + "…"
    assert (preview(None), preview(b""), escaped("grün")) == ("(null)", "", "grün")


@pytest.mark.parametrize(("at_ms", "text"), [(-1, "1970-01-01 00:00:00"), (2**62, "9999-12-31 23:59:59")])
def test_a_timestamp_that_is_no_time_is_shown_as_the_nearest(at_ms: int, text: str) -> None:
    assert time_text(at_ms) == text


# -- counted -----------------------------------------------------------------------------------------------------


def test_letters_are_counted_by_reason_topic_and_hour() -> None:
    stats = Stats()
    stats.show(letter(), was_replayed=True)
    stats.show(letter(reason="utf8", written_ms=NOW_MS + HOUR_MS), was_replayed=False)
    stats.show(
        letter(reason="utf8", topic=CONTROL_TOPIC, headers=[("interestflow.attempt", b"2")]),
        was_replayed=False,
    )
    stats.show(letter(reason="utf8", value=b"x" * 70_000), was_replayed=False)

    assert stats.document() == {
        "letters": 4,
        "replayed": 1,
        "cut": 1,
        "rejected_again": 1,
        "by_reason": {"utf8": 3, "json": 1},
        "by_topic": {CLICK_TOPIC: 3, CONTROL_TOPIC: 1},
        "by_hour": {"2023-11-14 22:00": 3, "2023-11-14 23:00": 1},
    }
    assert stats.text().split("\n")[:5] == [
        "4 dead letters: 1 replayed, 1 cut, 1 rejected again after a replay",
        "",
        "by reason  letters",
        "utf8       3",
        "json       1",
    ]


def test_no_letters_are_counted_in_a_line() -> None:
    assert Stats().text() == "0 dead letters: 0 replayed, 0 cut, 0 rejected again after a replay"


# -- replayed ----------------------------------------------------------------------------------------------------


def test_a_replay_sends_the_letters_own_bytes_to_where_its_key_belongs() -> None:
    sent = replay_of(letter(key=b"u1", partition=3), RULES, SENT)

    assert sent[:4] == (CLICK_TOPIC, RULES.partition_of(b"u1"), b"u1", b"{not json")
    assert RULES.partition_of(b"u1") != 3
    assert sent.headers == (("interestflow.attempt", b"2"), ("interestflow.dead-letter", b"2:17"))
    assert sent.timestamp_ms is None


def test_a_record_without_key_goes_back_to_its_partition() -> None:
    assert replay_of(letter(key=None, partition=3), RULES, SENT).partition == 3


def test_in_virtual_time_a_record_keeps_its_time() -> None:
    sent = replay_of(letter(timestamp=NOW_MS - 5), RULES._replace(virtual_time=True), SENT)

    assert (sent.timestamp_ms, sent.headers[-1]) == (NOW_MS - 5, SENT)
    assert replay_of(foreign(), RULES._replace(virtual_time=True), SENT).timestamp_ms is None


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (letter(), None),
        (letter(value=None), None),
        (letter("2:16"), "replayed already (--again sends them once more)"),
        (letter(value=b"x" * 70_000), "cut: only the start of the key or value was kept, so the producer must send them anew"),
        (letter(reason="pii_in_id"), "redacted: their personal data was taken out, so the producer must send them anew"),
        (letter(reason="json", key=b"jane@example.com"), "redacted: their personal data was taken out, so the producer must send them anew"),
        (letter(headers=[("interestflow.attempt", b"5")]), "rejected 5 times or more (--max-attempts)"),
        (letter(headers=[("interestflow.attempt", b"4")]), None),
        (letter(topic="payments"), "from payments, which is no input of this service"),
        (foreign(), "without the headers that say where they came from"),
    ],
)  # fmt: skip
def test_what_cannot_be_replayed_says_why(one: Letter, expected: str | None) -> None:
    assert obstacle(one, {Place(2, 16)}, RULES) == expected


def test_what_was_replayed_is_replayed_again_only_if_that_is_said() -> None:
    assert obstacle(letter(), {Place(2, 17)}, RULES._replace(again=True)) is None


@pytest.mark.parametrize(
    ("letters", "stay", "left_out", "done", "lines"),
    [
        ([], {}, 0, False, ["no dead letter fits; nothing is replayed"]),
        ([], {"cut": 2}, 0, False, ["would replay 0: none", "2 stay: cut"]),
        (
            [letter(), letter(), letter(topic=CONTROL_TOPIC)], {"cut": 2}, 7, False,
            ["would replay 3: 2 to behaviour.click, 1 to users.control", "2 stay: cut",
             "7 more fit: run the same command again (--limit)", "nothing was sent; add --yes to do it"],
        ),
        ([letter()], {}, 0, True, ["replayed 1: 1 to behaviour.click"]),
    ],
)  # fmt: skip
def test_a_replay_says_what_goes_and_what_stays(
    *,
    letters: Sequence[Letter],
    stay: dict[str, int],
    left_out: int,
    done: bool,
    lines: list[str],
) -> None:
    assert replay_text(letters, stay, left_out, done=done).split("\n") == lines


# -- purged ------------------------------------------------------------------------------------------------------


def shown(purge: Purge, *places: tuple[str, int]) -> Purge:
    for place, hours in places:
        purge.show(letter(place, written_ms=NOW_MS + hours * HOUR_MS), was_replayed=place == "0:1")
    return purge


def test_a_purge_by_time_ends_at_the_first_letter_that_stays_in_each_partition() -> None:
    purge = shown(
        Purge(NOW_MS + 2 * HOUR_MS), ("0:1", 0), ("0:4", 1), ("0:5", 2), ("0:6", 1), ("1:0", 5), ("2:9", 0)
    )

    assert (purge.before, purge.letters, purge.waiting) == ({0: 5, 2: 10}, 3, 2)
    assert purge_text(purge, done=False) == (
        "would delete 3 dead letters, 2 of them never replayed: partition 0 before offset 5, partition 2 before offset 10\n"
        "nothing was deleted; add --yes to do it"
    )


def test_a_purge_through_a_letter_takes_it_and_all_before_it() -> None:
    places = last_offsets([Place(0, 4), Place(0, 2), Place(3, 8)])
    purge = shown(Purge(through=places), ("0:1", 0), ("0:4", 1), ("0:5", 2), ("1:0", 0))

    assert (purge.before, purge.letters) == ({0: 5}, 2)
    assert purge_text(purge, done=True) == (
        "deleted 2 dead letters, 1 of them never replayed: partition 0 before offset 5"
    )


def test_a_purge_of_nothing_says_so() -> None:
    assert purge_text(Purge(0), done=True) == "no dead letter stands before that; nothing is deleted"
