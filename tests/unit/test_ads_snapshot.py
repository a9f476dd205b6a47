"""The snapshot of all campaigns: its order, its arrays, and what its builders share."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.ads.campaign import Campaign, Creative
from stream.ads.response import CreativeArrays, Floats
from stream.ads.snapshot import CampaignSnapshot, InterestRows, creative_text, interest_weights
from stream.render import category_hash, text_hash

INTERESTS = InterestRows(
    {category_hash("cheese"): 0, category_hash("wine"): 1, category_hash("soap"): 2},
    np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], np.float32),
)


def creative(crid: str, title: str = "", categories: Sequence[str] = (), products: int = 1) -> Creative:
    return Creative(crid=crid, title=title, categories=list(categories), products=products)


def campaign(cid: str, *creatives: Creative, bid_cpm: float = 1.0) -> Campaign:
    return Campaign(
        cid=cid,
        name=cid,
        seat="shop",
        starts_at_ms=1_500_000_000_000,
        ends_at_ms=1_600_000_000_000,
        status="active",
        bid_cpm=bid_cpm,
        creatives=list(creatives) or [creative(f"{cid}-1", f"title of {cid}")],
    )


def vectors(**by_text: list[float]) -> dict[int, Floats]:
    return {text_hash(text): np.array(vector, np.float32) for text, vector in by_text.items()}


def assert_same(one: CampaignSnapshot, other: CampaignSnapshot) -> None:
    assert [row.campaign for row in one.rows] == [row.campaign for row in other.rows]
    assert [row.campaign.cid for row in one.rows] == [row.campaign.cid for row in other.rows]
    pairs = [
        (mine, others)
        for a, b in zip(one.rows, other.rows, strict=True)
        for mine, others in zip(a.arrays, b.arrays, strict=True)
    ]
    for mine, others in pairs:
        np.testing.assert_array_equal(mine, others)


def all_arrays(snapshot: CampaignSnapshot) -> CreativeArrays:
    """The creatives of all campaigns, one under the other."""
    return CreativeArrays(
        *(np.concatenate(column) for column in zip(*(row.arrays for row in snapshot.rows), strict=True))
    )


def test_campaigns_stand_by_cid_and_creatives_by_crid() -> None:
    snapshot = CampaignSnapshot.build(
        [campaign("b", creative("y", products=2), creative("x", products=1)), campaign("a", creative("z"))],
        INTERESTS,
        {},
    )

    assert [row.campaign.cid for row in snapshot.rows] == ["a", "b"]
    assert [one.crid for row in snapshot.rows for one in row.creatives] == ["z", "x", "y"]
    assert [len(row.creatives) for row in snapshot.rows] == [1, 2]
    assert all_arrays(snapshot).products.tolist() == [1.0, 1.0, 2.0]


def test_an_empty_snapshot_has_arrays_without_rows() -> None:
    snapshot = CampaignSnapshot.build([], INTERESTS, {})

    assert snapshot.rows == ()
    assert snapshot.missing_texts == {}


def test_the_text_of_a_creative_is_its_title_then_its_categories_from_the_most_specific() -> None:
    assert creative_text(creative("x", "Summer Deal", ["DAIRY", "Cheese"])) == "summer deal, cheese, dairy"


def test_a_creative_is_about_the_interests_that_its_categories_name() -> None:
    weights = interest_weights(
        [["CHEESE", "cheese ", "unknown"], ["Wine", "soap"]], np.zeros((2, 2), np.float32), INTERESTS
    )

    assert weights.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]


def test_a_creative_without_known_categories_is_about_what_its_text_resembles() -> None:
    weights = interest_weights([["unknown"]], np.array([[0.0, 1.0]], np.float32), INTERESTS)

    # Cosines 0, 1, 0 at temperature 0.05: the others have a share of e^-20 each.
    assert weights[0, 1] == pytest.approx(1.0, abs=1e-6)
    assert weights.sum() == pytest.approx(1.0)


def test_a_creative_that_nothing_is_known_of_is_about_everything_alike() -> None:
    weights = interest_weights([[]], np.zeros((1, 2), np.float32), INTERESTS)

    np.testing.assert_allclose(weights, [[1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)


def test_texts_are_missing_until_their_vectors_come() -> None:
    snapshot = CampaignSnapshot.build(
        [campaign("a", creative("x", "alpha"), creative("y", "beta"), creative("z"))], INTERESTS, {}
    )

    encoded = snapshot.with_vectors(vectors(alpha=[0.0, 1.0]))

    assert sorted(snapshot.missing_texts.values()) == ["alpha", "beta"]
    assert list(encoded.missing_texts.items()) == [(text_hash("beta"), "beta")]
    assert all_arrays(encoded).vectors.tolist() == [[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    assert all_arrays(encoded).interest_weights[0].argmax() == 1
    assert not all_arrays(snapshot).vectors.any()


def test_vectors_that_are_not_new_change_no_row() -> None:
    snapshot = CampaignSnapshot.build(
        [campaign("a", creative("x", "alpha"))], INTERESTS, vectors(alpha=[1.0, 0.0])
    )

    again = snapshot.with_vectors(vectors(alpha=[0.0, 1.0], other=[1.0, 0.0]))

    assert again.rows[0] is snapshot.rows[0]


def test_a_campaign_that_comes_again_replaces_the_former() -> None:
    snapshot = CampaignSnapshot.build([campaign("a"), campaign("b")], INTERESTS, {})

    changed = snapshot.with_campaign(campaign("a", bid_cpm=9.0), {})

    assert [row.campaign.bid_cpm for row in changed.rows] == [9.0, 1.0]
    assert changed.rows[1] is snapshot.rows[1]
    assert [row.campaign.bid_cpm for row in snapshot.rows] == [1.0, 1.0]


def test_removing_a_campaign_that_is_not_there_changes_nothing() -> None:
    snapshot = CampaignSnapshot.build([campaign("a")], INTERESTS, {})

    assert_same(snapshot.without("zzz"), snapshot)
    assert snapshot.without("a").rows == ()


def test_another_label_set_gives_the_same_campaigns_other_weights() -> None:
    snapshot = CampaignSnapshot.build([campaign("a", creative("x", "deal", ["wine"]))], INTERESTS, {})
    smaller = InterestRows({category_hash("wine"): 0}, np.ones((1, 5), np.float32))

    other = snapshot.with_interests(smaller, {})

    assert all_arrays(other).interest_weights.tolist() == [[1.0]]
    assert all_arrays(other).vectors.shape == (1, 5)


cids = st.sampled_from(["a", "b", "c", "d"])
changes = st.lists(st.tuples(st.booleans(), cids, st.integers(1, 9)), max_size=12)


@given(changes)
def test_changes_one_by_one_give_what_building_at_once_gives(history: list[tuple[bool, str, int]]) -> None:
    known = vectors(**{"title of a": [1.0, 0.0]})
    snapshot = CampaignSnapshot.build([], INTERESTS, known)
    left: dict[str, Campaign] = {}
    for removed, cid, bid in history:
        if removed:
            snapshot = snapshot.without(cid)
            left.pop(cid, None)
        else:
            left[cid] = campaign(cid, bid_cpm=float(bid))
            snapshot = snapshot.with_campaign(left[cid], known)

    assert_same(snapshot, CampaignSnapshot.build(left.values(), INTERESTS, known))
