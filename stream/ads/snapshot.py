"""All campaigns at one moment, as arrays that one user is compared with at once; swapped as a whole.

Shapes: n creatives over all campaigns, L interests of the label set, D dimensions of the encoder. float32.
A row takes 4 (L + D) bytes: about 2.6 KiB with 268 interests and 384 dimensions.
Order is campaigns by cid, creatives of a campaign by crid, so that equal campaigns give equal snapshots
in whatever order they came.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Self

import numpy as np

from stream.ads.campaign import Campaign, Creative
from stream.ads.response import CreativeArrays, Floats
from stream.exposure import campaign_hash
from stream.render import category_hash, render_names, text_hash
from stream.sensitive import NOTHING_SENSITIVE, SensitiveNames

#: Sharpens cosines into shares: a lead of 0.1 makes an interest count 7 times as much.
_TEMPERATURE: Final = 0.05


class InterestRows(NamedTuple):
    """The label set of a model version: row by category hash, and the names' unit vectors [L, D]; and what is no interest."""

    row_by_category: Mapping[int, int]
    vectors: Floats
    sensitive: SensitiveNames = NOTHING_SENSITIVE


class CampaignRows(NamedTuple):
    """One campaign, its hash, and its creatives as rows in the order of crid, without the sensitive ones.

    A campaign that is sensitive as a whole, or in all its creatives, keeps them as rows and takes no part.
    """

    campaign: Campaign
    hash: int
    creatives: tuple[Creative, ...]
    texts: tuple[str, ...]
    text_hashes: tuple[int, ...]
    arrays: CreativeArrays
    is_sensitive: bool = False


@dataclass(frozen=True, eq=False)
class CampaignSnapshot:
    """Immutable; each builder gives a new one and shares what did not change."""

    interests: InterestRows
    rows: tuple[CampaignRows, ...]

    @classmethod
    def build(
        cls, campaigns: Iterable[Campaign], interests: InterestRows, vectors: Mapping[int, Floats]
    ) -> Self:
        """A snapshot of these campaigns; the last one of a cid counts.

        Args:
            campaigns: In any order.
            interests: The label set that interest weights refer to.
            vectors: Unit vectors [D] by text hash, as far as they are known.
        """
        by_cid = {campaign.cid: campaign for campaign in campaigns}
        return cls(
            interests, tuple(_campaign_rows(by_cid[cid], interests, vectors) for cid in sorted(by_cid))
        )

    def with_campaign(self, campaign: Campaign, vectors: Mapping[int, Floats]) -> Self:
        """The same with this campaign new or replaced."""
        added = _campaign_rows(campaign, self.interests, vectors)
        others = self.without(campaign.cid).rows
        return type(self)(self.interests, tuple(sorted((*others, added), key=_cid)))

    def without(self, cid: str) -> Self:
        """The same without this campaign, whether it was there or not."""
        return type(self)(self.interests, tuple(row for row in self.rows if row.campaign.cid != cid))

    def with_vectors(self, vectors: Mapping[int, Floats]) -> Self:
        """The same with more creatives encoded: unit vectors [D] by text hash."""
        return type(self)(self.interests, tuple(self._encoded(row, vectors) for row in self.rows))

    def with_interests(self, interests: InterestRows, vectors: Mapping[int, Floats]) -> Self:
        """The same campaigns for another model version: its label set and its vectors of the texts."""
        return type(self).build((row.campaign for row in self.rows), interests, vectors)

    @cached_property
    def cids(self) -> frozenset[str]:
        """The campaigns' ids."""
        return frozenset(row.campaign.cid for row in self.rows)

    @cached_property
    def missing_texts(self) -> Mapping[int, str]:
        """Texts that are not encoded yet, by hash."""
        return {
            row.text_hashes[index]: row.texts[index]
            for row in self.rows
            for index in np.flatnonzero(~row.arrays.vectors.any(axis=1))
            if row.texts[index]
        }

    def _encoded(self, row: CampaignRows, vectors: Mapping[int, Floats]) -> CampaignRows:
        known = {
            text: vector
            for text, vector in zip(row.text_hashes, row.arrays.vectors, strict=True)
            if vector.any()
        }
        new = {text: vectors[text] for text in row.text_hashes if text in vectors and text not in known}
        return _campaign_rows(row.campaign, self.interests, {**known, **new}) if new else row


def creative_text(creative: Creative) -> str:
    """What the encoder reads of a creative: its title, then its categories."""
    return render_names(creative.title, None, creative.categories)


def interest_weights(categories: Sequence[Sequence[str]], vectors: Floats, interests: InterestRows) -> Floats:
    """How much each of n creatives is about each interest, [n, L]; rows are >= 0 and sum to 1.

    The interests that its category names stand for, alike; else those whose names its text is similar to;
    else, before it is encoded, all alike.

    Args:
        categories: Category names of each creative.
        vectors: Unit vectors of the creatives' texts, zero where unknown, [n, D].
        interests: The label set.
    """
    weights = np.exp(vectors @ interests.vectors.T / _TEMPERATURE)
    for index, names in enumerate(categories):
        rows = {interests.row_by_category.get(category_hash(name), -1) for name in names} - {-1}
        if rows:
            weights[index] = 0.0
            weights[index, sorted(rows)] = 1.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def _campaign_rows(
    campaign: Campaign, interests: InterestRows, vectors: Mapping[int, Floats]
) -> CampaignRows:
    creatives = tuple(sorted(campaign.creatives, key=lambda creative: creative.crid))
    harmless = _harmless(campaign, creatives, interests.sensitive)
    creatives = harmless or creatives
    texts = tuple(creative_text(creative) for creative in creatives)
    hashes = tuple(text_hash(text) for text in texts)
    unknown = np.zeros(interests.vectors.shape[1], np.float32)
    stacked = np.stack([vectors.get(text, unknown) for text in hashes]).astype(np.float32)
    weights = interest_weights([creative.categories for creative in creatives], stacked, interests)
    products = np.array([creative.products for creative in creatives], dtype=np.float32)
    arrays = CreativeArrays(weights, stacked, products)
    return CampaignRows(
        campaign, campaign_hash(campaign.cid), creatives, texts, hashes, arrays, is_sensitive=not harmless
    )


def _harmless(
    campaign: Campaign, creatives: tuple[Creative, ...], sensitive: SensitiveNames
) -> tuple[Creative, ...]:
    """The creatives that may be shown; none if the campaign says itself that it is sensitive."""
    if sensitive.topic_of_categories(campaign.cat) or sensitive.topic_of((campaign.name,)):
        return ()
    return tuple(
        creative
        for creative in creatives
        if sensitive.topic_of((creative.title, *creative.categories)) is None
    )


def _cid(rows: CampaignRows) -> str:
    return rows.campaign.cid
