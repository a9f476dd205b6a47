"""The campaigns in force: read from the compacted topic ``ads.campaigns``, kept as one immutable snapshot."""

import structlog

from stream.ads.campaign import campaign_key, parse_campaign
from stream.ads.snapshot import CampaignSnapshot, InterestRows
from stream.errors import ModelUnavailableError, RejectionError
from stream.metrics import Metrics
from stream.model.vectors import TextEncoder

log = structlog.get_logger(__name__)


class Campaigns:
    """Holds the snapshot that decisions are made from; a change swaps it as a whole."""

    def __init__(self, interests: InterestRows, metrics: Metrics) -> None:
        self.snapshot = CampaignSnapshot.build((), interests, {})
        self._metrics = metrics

    def on_record(self, key: bytes | None, value: bytes | None, *, counted: bool = True) -> None:
        """Take in a campaign record; a bad one is counted and what was known under its key stays.

        Args:
            key: Of the record.
            value: Of the record.
            counted: False for a second holder of the same records.
        """
        try:
            campaign = parse_campaign(key, value)
            if campaign is None:
                self.snapshot = self.snapshot.without(campaign_key(key))
            else:
                self.snapshot = self.snapshot.with_campaign(campaign, {})
        except RejectionError as error:
            if counted:
                self._metrics.campaigns_rejected.labels(error.reason).inc()
                log.warning("campaign_rejected", reason=str(error.reason), detail=error.detail)
        self._metrics.campaigns.set(len(self.snapshot.rows))

    def knows(self, cid: str) -> bool:
        """Whether there is such a campaign now."""
        return cid in self.snapshot.cids

    def follow(self, other: "Campaigns") -> None:
        """Hold the same campaigns as another model version's, by the own label set and not encoded yet."""
        self.snapshot = other.snapshot.with_interests(self.snapshot.interests, {})

    async def encode_missing(self, encoder: TextEncoder) -> None:
        """Encode creatives that have no vector yet; without a model they wait, and similarity counts nothing."""
        missing = self.snapshot.missing_texts
        if not missing:
            return
        try:
            vectors = await encoder.vectors(missing)
        except ModelUnavailableError as error:
            log.warning("creatives_not_encoded", texts=len(missing), error=str(error))
            return
        self.snapshot = self.snapshot.with_vectors(vectors)
