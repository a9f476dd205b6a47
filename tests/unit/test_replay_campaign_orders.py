"""The recorded campaigns as messages of the contract."""

from stream.ads.campaign import parse_campaign
from stream.replay.campaign_orders import campaign_orders, invented_bid_cpm


def test_all_campaigns_fit_the_contract_that_the_worker_checks() -> None:
    orders = campaign_orders()

    read = [parse_campaign(order.cid.encode(), order.model_dump_json().encode()) for order in orders]

    assert read == orders
    assert len(orders) == 27
    assert sum(len(order.creatives) for order in orders) == 1197


def test_a_campaign_ends_with_the_end_of_its_last_day() -> None:
    order = next(order for order in campaign_orders() if order.cid == "18")

    assert order.starts_at_ms == 1_509_339_600_000  # 2017-10-30, 05:00 UTC: midnight of the shop
    assert order.ends_at_ms == 1_514_178_000_000  # 2017-12-25, 05:00 UTC: its last day is the 24th


def test_an_invented_bid_is_the_same_everywhere_and_near_the_base_of_its_type() -> None:
    assert invented_bid_cpm("18", "Type A") == 6.61
    for cid in map(str, range(1, 28)):
        assert 4.5 <= invented_bid_cpm(cid, "Type A") <= 7.5
        assert 1.87 <= invented_bid_cpm(cid, "Type C") <= 3.13
