from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import pytest

pytest.importorskip("duckdb", reason="needs the trainer extra: pip install 'interestflow[trainer]'")

from stream.events import PURCHASE_TOPIC
from stream.features import HISTORY_FEATURES, NEVER_DAYS, USER_FEATURES
from tests.shop_files import DAY_MS, FIRST_MS, purchase
from trainer.events.reading import StoredRecord
from trainer.interests import LabelSet
from trainer.recorder import LineCounts, Recorder

pytestmark = pytest.mark.trainer

END_MS = FIRST_MS + 100 * DAY_MS
HOUR_MS = 3_600_000


def record(body: dict[str, Any], received_ms: int | None = None) -> StoredRecord:
    at_ms = body["occurred_at_ms"] if received_ms is None else received_ms
    return StoredRecord(PURCHASE_TOPIC, 0, 0, at_ms, orjson.dumps(body), body["user_id"].encode())


def recorder(*bodies: dict[str, Any], users: Sequence[str] = ("7", "9")) -> Recorder:
    shop = Recorder(LabelSet(["cheese", "milk"]), users, END_MS)
    for body in bodies:
        shop.fold(record(body))
    return shop


def test_a_snapshot_holds_what_each_household_bought_before_it() -> None:
    shop = recorder(purchase("7", 0, "milk"), purchase("9", 3, "cheese", "milk"))

    history = shop.read(FIRST_MS + 4 * DAY_MS).history
    purchases = history[..., HISTORY_FEATURES.index("purchases")]
    since = history[..., HISTORY_FEATURES.index("days_since_purchase")]

    assert purchases.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert since.tolist() == [[NEVER_DAYS, 4.0], [1.0, 1.0]]


def test_nothing_is_learnt_from_a_bot() -> None:
    shop = recorder(purchase("7", 0, "milk", is_bot=True))

    assert shop.purchases()[0].household.tolist() == []


def test_nothing_is_learnt_from_a_minor_but_the_purchase_was_made() -> None:
    shop = recorder(purchase("7", 0, "milk"), purchase("7", 1, "milk", minor=True))

    history = shop.read(FIRST_MS + 2 * DAY_MS).history

    assert not np.any(history[..., HISTORY_FEATURES.index("purchases")])


def test_a_snapshot_names_the_texts_of_the_window_by_row() -> None:
    shop = recorder(purchase("7", 0, "milk", "cheese"))

    snapshot = shop.read(FIRST_MS + DAY_MS)

    assert list(shop.text_rows) == ["milk type, milk, grocery", "cheese type, cheese, grocery"]
    assert snapshot.window_texts[0, :3].tolist() == [0, 1, -1]
    assert snapshot.user[0, USER_FEATURES.index("window_behaviours")] == 2.0


def test_what_was_looked_at_is_in_the_window_and_no_purchase() -> None:
    shop = recorder(purchase("7", 0, "milk", event_type="view_item"))

    snapshot = shop.read(FIRST_MS + DAY_MS)

    assert snapshot.window_texts[0, :2].tolist() == [0, -1]
    assert shop.purchases()[0].household.tolist() == []


def test_the_lines_of_a_basket_become_purchases_with_the_row_of_their_interest() -> None:
    shop = recorder(purchase("9", 0, "milk", "candles"))

    purchases, received = shop.purchases()

    assert purchases.household.tolist() == [1, 1]
    assert purchases.basket.tolist() == [0, 0]
    assert purchases.interest.tolist() == [1, -1]
    assert purchases.at_seconds.tolist() == [FIRST_MS // 1000] * 2
    assert received.tolist() == [FIRST_MS // 1000] * 2


def test_lines_that_are_no_purchase_of_an_interest_are_counted() -> None:
    nameless = {"item_id": "4711"}
    no_category = {"item_id": "4712", "item_name": "brie"}
    shop = recorder(
        purchase("9", 0, "milk", "candles", "soap", "soap"), purchase("7", 0, items=[nameless, no_category])
    )

    assert shop.line_counts() == LineCounts(
        lines=6, no_text=1, no_category=1, other_category=3, other_categories=2
    )


def test_what_is_bought_after_the_end_of_the_labels_is_left_out() -> None:
    shop = recorder(purchase("7", 100, "milk"))

    assert shop.purchases()[0].household.tolist() == []
    assert not shop.text_rows


def test_purchases_without_a_transaction_are_baskets_of_their_own() -> None:
    shop = recorder(*(purchase("7", day, "milk", transaction_id=None) for day in range(3)))

    assert shop.purchases()[0].basket.tolist() == [0, 1, 2]


def test_a_delayed_purchase_counts_when_it_was_made_and_is_known_when_it_came() -> None:
    shop = recorder(purchase("7", 5, "cheese"))
    delayed = record(purchase("7", 1, "milk"), FIRST_MS + 6 * DAY_MS)
    history_before = shop.read(FIRST_MS + 6 * DAY_MS).history

    shop.fold(delayed)

    purchases, received = shop.purchases()
    assert purchases.at_seconds.tolist() == [(FIRST_MS + day * DAY_MS) // 1000 for day in (1, 5)]
    assert received.tolist() == [(FIRST_MS + day * DAY_MS) // 1000 for day in (6, 5)]
    # Beyond the grace of a day a worker does not fold it any more.
    assert np.array_equal(shop.read(FIRST_MS + 6 * DAY_MS).history, history_before)


def test_a_purchase_delayed_within_the_grace_is_a_feature_once_it_came() -> None:
    shop = recorder()
    bought = HISTORY_FEATURES.index("purchases")
    assert not np.any(shop.read(FIRST_MS + DAY_MS).history[..., bought])

    shop.fold(record(purchase("7", 1, "milk"), FIRST_MS + DAY_MS + HOUR_MS))

    assert shop.read(FIRST_MS + 2 * DAY_MS).history[0, 1, bought] == 1.0


def test_a_purchase_that_is_told_twice_counts_once_however_late() -> None:
    shop = recorder(purchase("7", 1, "milk"))

    shop.fold(record(purchase("7", 1, "milk"), FIRST_MS + DAY_MS + HOUR_MS))
    shop.fold(record(purchase("7", 1, "milk"), FIRST_MS + 30 * DAY_MS))

    assert shop.purchases()[0].household.tolist() == [0]


def test_coupons_sent_and_redeemed_are_counted() -> None:
    shop = recorder()
    for event_type, event_id in (("ad_impression", "x"), ("ad_impression", "y"), ("ad_click", "z")):
        shop.fold(
            record(purchase("7", 0, event_type=event_type, event_id=event_id, ad={"cid": "1", "crid": None}))
        )

    snapshot = shop.read(FIRST_MS + 1)

    assert snapshot.impressions.tolist() == [2, 0]
    assert snapshot.clicks.tolist() == [1, 0]
    assert not np.any(snapshot.history[..., HISTORY_FEATURES.index("purchases")])
