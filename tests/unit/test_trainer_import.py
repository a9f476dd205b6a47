import importlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("duckdb", reason="needs the trainer extra: pip install 'interestflow[trainer]'")

from stream.archive.description import Description, is_finished, read_description
from stream.decode import decode_event
from stream.errors import ConfigurationError
from stream.events import BehaviourEvent
from tests.shop_files import COLUMNS, MAPPING, write_shop
from trainer.errors import TrainerError
from trainer.events.importing import import_files
from trainer.events.mapping import read_mapping
from trainer.events.reading import rejects, stored_records, totals, user_ids

pytestmark = pytest.mark.trainer

Row = tuple[str, ...]


def row(order: str, user: str, at: str = "2025-03-01 10:00:00", **cells: str) -> Row:
    full = dict(zip(COLUMNS, (order, user, at, "s1", "Green Tea", "food", "tea", "1.50", "2"), strict=True))
    return tuple({**full, **cells}.values())


def imported(directory: Path, rows: list[Row], mapping: str = MAPPING) -> Description:
    orders, described = write_shop(directory, rows, mapping)
    return import_files([orders], read_mapping(described), directory / "events")


def events(directory: Path) -> list[BehaviourEvent]:
    records = stored_records(directory / "events")
    return [decode_event(record.value, record.timestamp).event for record in records]


def test_the_lines_of_an_order_become_one_purchase(tmp_path: Path) -> None:
    rows = [row("1", "anna"), row("2", "bert"), row("1", "anna", sku="s2", title="Cup", price="3")]

    made = imported(tmp_path, rows)

    anna, bert = events(tmp_path)
    assert (made.events, made.rejects) == (2, {})
    assert (anna.event_id, anna.user_id, anna.transaction_id) == ("purchase:1", "anna", "1")
    assert [(item.item_id, item.item_name, item.price, item.quantity) for item in anna.items] == [
        ("s1", "Green Tea", 1.5, 2),
        ("s2", "Cup", 3.0, 2),
    ]
    assert (anna.items[0].item_category, anna.items[0].item_category2) == ("food", "tea")
    assert (bert.event_id, bert.currency, bert.source) == ("purchase:2", "EUR", "made-shop")


def test_a_column_may_name_the_items_images(tmp_path: Path) -> None:
    mapping = MAPPING.replace('item_id = "sku"', 'item_id = "sku"\nimage_id = "sku"')

    imported(tmp_path, [row("1", "anna"), row("2", "anna", sku="")], mapping)

    assert [event.items[0].image_id for event in events(tmp_path)] == ["s1", None]


def test_a_time_without_an_offset_is_of_the_mappings_zone(tmp_path: Path) -> None:
    berlin = MAPPING.replace('zone = "UTC"', 'zone = "Europe/Berlin"')

    imported(
        tmp_path, [row("1", "anna", "2025-07-01 12:00:00"), row("2", "anna", "2025-07-01T12:00:00Z")], berlin
    )

    ten, twelve = 1_751_364_000_000, 1_751_371_200_000
    assert [event.occurred_at_ms for event in events(tmp_path)] == [ten, twelve]


@pytest.mark.parametrize(
    ("form", "written"),
    [("epoch_s", "1751364000"), ("epoch_ms", "1751364000000"), ("%d.%m.%Y %H:%M", "01.07.2025 10:00")],
)
def test_times_are_read_in_the_mappings_form(tmp_path: Path, form: str, written: str) -> None:
    imported(tmp_path, [row("1", "anna", written)], MAPPING + f'format = "{form}"\n')

    assert [event.occurred_at_ms for event in events(tmp_path)] == [1_751_364_000_000]


def test_numbers_may_have_a_comma(tmp_path: Path) -> None:
    imported(tmp_path, [row("1", "anna", price="1.234,50")], MAPPING + '[numbers]\ndecimal = ","\n')

    assert events(tmp_path)[0].items[0].price == 1234.5


def test_each_bad_row_is_kept_with_its_reason_and_takes_no_other_with_it(tmp_path: Path) -> None:
    rows = [
        row("1", "anna"),
        row("1", "anna", price="free"),
        row("1", "anna", price="-1"),
        row("2", "bert", "yesterday"),
        row("3", ""),
        row("4", "x@example.org"),
        (*row("5", "cleo"), "one cell more"),
    ]

    made = imported(tmp_path, rows)

    kept = {(reject.offset, reject.reason) for reject in rejects(tmp_path / "events")}
    assert made.events == 1
    assert kept == {
        (2, "type"), (3, "range"), (4, "ts_parse"), (5, "missing"), (6, "pii_in_id"), (8, "unreadable_row"),
    }  # fmt: skip
    assert sum(made.rejects.values()) == 6
    assert [len(event.items) for event in events(tmp_path)] == [1]


def test_a_rejected_row_is_kept_as_it_was(tmp_path: Path) -> None:
    imported(tmp_path, [row("1", "anna"), row("2", "bert", price="free")])

    (reject,) = rejects(tmp_path / "events")

    assert reject.detail == "'price' is 'free', which is no number"
    assert b'"price":"free"' in reject.value


def test_a_large_order_becomes_several_events_with_ids_of_their_own(tmp_path: Path) -> None:
    imported(tmp_path, [row("1", "anna", sku=f"s{number}") for number in range(150)])

    assert [(event.event_id, len(event.items)) for event in events(tmp_path)] == [
        ("purchase:1", 100),
        ("purchase:1-2", 50),
    ]


def test_parquet_is_read_with_its_own_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "who": [7],
            "at": pa.array([1_751_364_000_000], pa.timestamp("ms")),
            "what": ["look"],
            "name": ["Green Tea"],
            "cat": ["tea"],
            "price": [1.5],
        }
    )
    pq.write_table(table, tmp_path / "looks.parquet")
    mapping = tmp_path / "shop.toml"
    mapping.write_text(
        'name = "looks"\nsource = "shop"\n[columns]\nuser_id = "who"\noccurred_at = "at"\nevent_type = "what"\n'
        'item_name = "name"\nitem_categories = ["cat"]\nprice = "price"\n[event_types]\nlook = "view_item"\n'
        '[times]\nzone = "UTC"\n',
        encoding="utf-8",
    )

    import_files([tmp_path / "looks.parquet"], read_mapping(mapping), tmp_path / "events")

    (event,) = events(tmp_path)
    assert (event.user_id, event.event_type, event.occurred_at_ms) == ("7", "view_item", 1_751_364_000_000)
    assert (event.items[0].item_id, event.items[0].price) == ("Green Tea", 1.5)


def test_what_arrives_late_stands_where_it_arrived(tmp_path: Path) -> None:
    mapping = MAPPING.replace("[columns]", '[columns]\nreceived_at = "title"')

    imported(
        tmp_path,
        [
            row("1", "anna", "2025-03-01 10:00:00", title="2025-03-09 10:00:00"),
            row("2", "anna", "2025-03-02 10:00:00", title="2025-03-02 10:00:00"),
        ],
        mapping.replace('item_name = "title"\n', ""),
    )

    assert [event.transaction_id for event in events(tmp_path)] == ["2", "1"]


def test_totals_and_users_of_an_archive(tmp_path: Path) -> None:
    imported(tmp_path, [row("1", "user-10"), row("2", "user-9"), row("3", "user-9", "2025-03-02 10:00:00")])

    (total,) = totals(tmp_path / "events")

    assert (total.event_type, total.events, total.users) == ("purchase", 3, 2)
    assert (total.first_ms, total.last_ms) == (1_740_823_200_000, 1_740_909_600_000)
    assert user_ids(tmp_path / "events") == ["user-9", "user-10"]


def test_a_missing_column_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    orders, mapping = write_shop(tmp_path, [row("1", "anna")], MAPPING.replace('"customer"', '"client"'))

    with pytest.raises(TrainerError, match=r"has no column 'client'; it has 'order_no', 'customer'"):
        import_files([orders], read_mapping(mapping), tmp_path / "events")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (('zone = "UTC"', 'zone = "Mars/Base"'), "names the time zone 'Mars/Base', which is not known"),
        (("[columns]", "[colums]"), "does not fit at columns: Field required"),
        (('event_type = "purchase"\n', ""), "says nothing of event types"),
        (("name =", "name"), "is no TOML"),
    ],
)
def test_a_mapping_that_is_wrong_says_where(tmp_path: Path, change: tuple[str, str], complaint: str) -> None:
    _, mapping = write_shop(tmp_path, [], MAPPING.replace(*change))

    with pytest.raises(TrainerError, match=complaint):
        read_mapping(mapping)


def test_an_import_that_broke_off_is_no_archive_and_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importing = importlib.import_module("trainer.events.importing")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(importing, "write_description", killed)
        with pytest.raises(KeyboardInterrupt):
            imported(tmp_path, [row("1", "anna")])
    assert not is_finished(tmp_path / "events")
    with pytest.raises(ConfigurationError, match=r"events\.json is missing"):
        read_description(tmp_path / "events")

    imported(tmp_path, [row("2", "bert")])

    assert [event.user_id for event in events(tmp_path)] == ["bert"]


def test_an_archive_is_not_written_over(tmp_path: Path) -> None:
    imported(tmp_path, [row("1", "anna")])

    with pytest.raises(ConfigurationError, match="holds an event archive already"):
        imported(tmp_path, [row("2", "bert")])
