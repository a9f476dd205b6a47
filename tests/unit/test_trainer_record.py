from datetime import date

import numpy as np

from stream.features import HISTORY_FEATURES, NEVER_DAYS, USER_FEATURES
from trainer.dates import seconds
from trainer.interests import LabelSet
from trainer.record import Recorder

DAY_MS = 86_400_000
START_MS = seconds(date(2017, 5, 1)) * 1000


def purchase(basket: str, household: str, day: int, *categories: str) -> tuple[dict[str, object], int]:
    at_ms = START_MS + day * DAY_MS
    items = [
        {
            "item_id": str(number),
            "item_name": f"{category} type",
            "item_category": "grocery",
            "item_category2": category,
            "item_category3": f"{category} type",
        }
        for number, category in enumerate(categories)
    ]
    body = {
        "event_id": f"basket:{basket}",
        "source": "test",
        "event_type": "purchase",
        "user_id": household,
        "occurred_at_ms": at_ms,
        "transaction_id": basket,
        "items": items,
    }
    return body, at_ms


def recorder() -> Recorder:
    return Recorder(LabelSet(["cheese", "milk"]), [7, 9])


def test_a_snapshot_holds_what_each_household_bought_before_it() -> None:
    shop = recorder()
    shop.fold(*purchase("a", "7", 0, "milk"))
    shop.fold(*purchase("b", "9", 3, "cheese", "milk"))

    history = shop.read(START_MS + 4 * DAY_MS).history
    purchases = history[..., HISTORY_FEATURES.index("purchases")]
    since = history[..., HISTORY_FEATURES.index("days_since_purchase")]

    assert purchases.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert since.tolist() == [[NEVER_DAYS, 4.0], [1.0, 1.0]]


def test_nothing_is_learnt_from_a_bot() -> None:
    shop = recorder()
    body, at_ms = purchase("a", "7", 0, "milk")

    shop.fold({**body, "is_bot": True}, at_ms)

    assert shop.purchases().household.tolist() == []


def test_a_snapshot_names_the_texts_of_the_window_by_row() -> None:
    shop = recorder()
    shop.fold(*purchase("a", "7", 0, "milk", "cheese"))

    snapshot = shop.read(START_MS + DAY_MS)

    assert list(shop.text_rows) == ["milk type, milk, grocery", "cheese type, cheese, grocery"]
    assert snapshot.window_texts[0, :3].tolist() == [0, 1, -1]
    assert snapshot.user[0, USER_FEATURES.index("window_behaviours")] == 2.0


def test_the_lines_of_a_basket_become_purchases_with_the_row_of_their_interest() -> None:
    shop = recorder()
    shop.fold(*purchase("a", "9", 0, "milk", "candles"))

    purchases = shop.purchases()

    assert purchases.household.tolist() == [1, 1]
    assert purchases.basket.tolist() == [0, 0]
    assert purchases.interest.tolist() == [1, -1]
    assert purchases.at_seconds.tolist() == [START_MS // 1000] * 2


def test_coupons_sent_and_redeemed_are_counted() -> None:
    shop = recorder()
    for event_type, event_id in (("ad_impression", "x"), ("ad_impression", "y"), ("ad_click", "z")):
        body = {
            "event_id": event_id,
            "source": "test",
            "event_type": event_type,
            "user_id": "7",
            "occurred_at_ms": START_MS,
            "ad": {"cid": "1", "crid": None},
        }
        shop.fold(body, START_MS)

    snapshot = shop.read(START_MS + 1)

    assert snapshot.impressions.tolist() == [2, 0]
    assert snapshot.clicks.tolist() == [1, 0]
    assert not np.any(snapshot.history[..., HISTORY_FEATURES.index("purchases")])
