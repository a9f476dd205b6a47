"""Which ads a user was shown and how they answered: what frequency caps and the response model count."""

from array import array
from typing import Final

from stream.hashing import hash64
from stream.window import DAY_MS

#: No frequency cap looks further back than this.
EXPOSURE_SPAN_MS: Final = 30 * DAY_MS
MAX_EXPOSURES: Final = 256


def campaign_hash(cid: str) -> int:
    """The key that exposures of a campaign are counted under."""
    return hash64(b"campaign:" + cid.encode())


class Exposures:
    """Impressions by campaign (hash of the cid) in order of arrival, and the number of clicks ever."""

    __slots__ = ("campaigns", "clicks", "impressions", "shown")

    def __init__(self) -> None:
        self.campaigns = array("Q")
        self.shown = array("q")
        self.impressions = 0
        self.clicks = 0

    def __len__(self) -> int:
        return len(self.campaigns)

    def show(self, campaign_hash: int, occurred_at_ms: int) -> None:
        """Take note of one impression."""
        if len(self.campaigns) >= MAX_EXPOSURES:
            del self.campaigns[0], self.shown[0]
        self.campaigns.append(campaign_hash)
        self.shown.append(occurred_at_ms)
        self.impressions += 1

    def merge(self, other: "Exposures") -> None:
        """Take in what another user was shown: caps and counts add up."""
        seen = sorted(
            [*zip(self.shown, self.campaigns, strict=True), *zip(other.shown, other.campaigns, strict=True)]
        )
        seen = seen[-MAX_EXPOSURES:]
        self.shown = array("q", [moment for moment, _ in seen])
        self.campaigns = array("Q", [campaign for _, campaign in seen])
        self.impressions += other.impressions
        self.clicks += other.clicks

    def count_since(self, campaign_hash: int, since_ms: int) -> int:
        """Impressions of a campaign at or after ``since_ms``."""
        return sum(
            1
            for campaign, shown in zip(self.campaigns, self.shown, strict=True)
            if campaign == campaign_hash and shown >= since_ms
        )

    def expire(self, now_ms: int) -> None:
        """Let go impressions that no cap looks at any more."""
        while self.shown and self.shown[0] < now_ms - EXPOSURE_SPAN_MS:
            del self.campaigns[0], self.shown[0]
