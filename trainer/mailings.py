"""Who was sent which coupons of a campaign, and who redeemed them: what the ad response is fitted on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stream.events import BehaviourEvent
from trainer.position_bias import UNKNOWN
from trainer.samples import Mailing, Snapshot


class Mailings:
    """The campaigns of an archive whose recipients got all their coupons.

    Args:
        campaigns: As the archive describes them; those without ``mailed`` are left out.
    """

    def __init__(self, campaigns: Sequence[Mapping[str, Any]]) -> None:
        self._campaigns = {campaign["cid"]: campaign for campaign in campaigns if campaign["mailed"]}
        self._recipients: dict[str, set[int]] = defaultdict(set)
        self._redeemed: set[tuple[str, str, int]] = set()
        self._positions: dict[tuple[str, str, int], int] = {}
        self.snapshots: dict[str, Snapshot] = {}

    def moments(self) -> list[tuple[int, str]]:
        """When each campaign is read: as its day begins, before its coupons count as shown."""
        return [(campaign["starts_at_ms"], cid) for cid, campaign in self._campaigns.items()]

    def note(self, event: BehaviourEvent, place: int) -> None:
        """Remember a coupon sent or redeemed."""
        ad = event.ad
        if ad is None or ad.cid not in self._campaigns:
            return
        if event.event_type == "ad_impression":
            self._recipients[ad.cid].add(place)
            index = event.items[0].index if event.items else None
            if ad.crid is not None and index is not None:
                self._positions.setdefault((ad.cid, ad.crid, place), index)  # where it was seen first
        elif event.event_type == "ad_click" and ad.crid is not None:
            self._redeemed.add((ad.cid, ad.crid, place))

    def finished(self) -> list[Mailing]:
        """The campaigns that were read."""
        return [self._finished(cid, snapshot) for cid, snapshot in self.snapshots.items()]

    def _finished(self, cid: str, snapshot: Snapshot) -> Mailing:
        households = np.array(sorted(self._recipients[cid]), dtype=np.int64)
        crids = [creative["crid"] for creative in self._campaigns[cid]["creatives"]]
        keys = [[(cid, crid, place) for crid in crids] for place in households.tolist()]
        redeemed = [[key in self._redeemed for key in row] for row in keys]
        positions = [[self._positions.get(key, UNKNOWN) for key in row] for row in keys]
        return Mailing(
            cid=cid,
            at_ms=self._campaigns[cid]["starts_at_ms"],
            households=households,
            snapshot=snapshot.of(households),
            crids=crids,
            redeemed=np.array(redeemed, dtype=np.bool_).reshape(len(households), len(crids)),
            positions=np.array(positions, dtype=np.int64).reshape(len(households), len(crids)),
        )
