"""Which ads a user was shown: what frequency caps count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.exposure import EXPOSURE_SPAN_MS, MAX_EXPOSURES, Exposures, campaign_hash
from stream.render import category_hash
from stream.window import DAY_MS

TEA, BRIE = 1, 2


def shown(*impressions: tuple[int, int]) -> Exposures:
    exposures = Exposures()
    for campaign, moment in impressions:
        exposures.show(campaign, moment)
    return exposures


@pytest.mark.parametrize(("since_ms", "count"), [(0, 2), (10, 2), (11, 1), (21, 0)])
def test_impressions_of_a_campaign_are_counted_from_a_moment_on(since_ms: int, count: int) -> None:
    assert shown((TEA, 10), (BRIE, 15), (TEA, 20)).count_since(TEA, since_ms) == count


def test_impressions_that_no_cap_looks_at_expire_and_stay_in_the_total() -> None:
    now_ms = 100 * DAY_MS
    exposures = shown((TEA, now_ms - EXPOSURE_SPAN_MS - 1), (TEA, now_ms - EXPOSURE_SPAN_MS))

    exposures.expire(now_ms)

    assert (len(exposures), exposures.impressions, exposures.count_since(TEA, 0)) == (1, 2, 1)


def test_beyond_the_cap_the_first_impression_goes_and_stays_in_the_total() -> None:
    exposures = shown(*((TEA, moment) for moment in range(MAX_EXPOSURES + 1)))

    assert (len(exposures), exposures.impressions, exposures.shown[0]) == (
        MAX_EXPOSURES, MAX_EXPOSURES + 1, 1,
    )  # fmt: skip


def test_a_campaign_and_a_category_of_one_name_have_different_keys() -> None:
    assert campaign_hash("tea") != category_hash("tea")


@given(
    impressions=st.lists(st.tuples(st.sampled_from([TEA, BRIE]), st.integers(0, 60)), max_size=40),
    now_day=st.integers(30, 60),
)
def test_a_cap_counts_all_that_lies_within_its_span(impressions: list[tuple[int, int]], now_day: int) -> None:
    exposures = shown(*((campaign, day * DAY_MS) for campaign, day in impressions))

    exposures.expire(now_day * DAY_MS)

    assert exposures.count_since(TEA, (now_day - 30) * DAY_MS) == sum(
        campaign == TEA and day >= now_day - 30 for campaign, day in impressions
    )
