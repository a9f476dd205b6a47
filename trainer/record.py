"""Recorded events folded through the stream's own state and read at each cutoff and mailing.

The events go through ``stream.fold`` and the features come from ``stream.features``, so that what is trained on and
what is served can't differ.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from stream.decode import Decoded
from stream.events import AdReference, BehaviourEvent, Change, Item
from stream.features import history_features, user_features
from stream.fold import Received, event_hash, fold_event
from stream.render import render_event
from stream.replay.complete_journey import campaigns, household_ids, interest_categories, load_events
from stream.state import UserState
from stream.window import WindowPolicy
from trainer.calendar import COMPLETE_JOURNEY
from trainer.dates import FIRST_MAILING, seconds
from trainer.interests import INTEREST_LEVEL, LabelSet
from trainer.samples import (
    DATA_NAME,
    Mailing,
    Purchases,
    Samples,
    Snapshot,
    cutoff_path,
    data_hash,
    mailing_path,
)

#: Which coupons of a type A campaign a household got is not recorded.
_MAILED_TYPES: Final = ("Type B", "Type C")


def write_samples(directory: Path, advance: Callable[[int], None] = lambda _: None) -> Samples:
    """Fold all recorded events and write the samples (some 0.3 GB); about a minute.

    Args:
        directory: Gets the files.
        advance: Told how many events more were folded.
    """
    directory.mkdir(parents=True, exist_ok=True)
    recorder = Recorder(LabelSet(interest_categories()), household_ids())
    mailings = _Mailings()
    calendar = COMPLETE_JOURNEY
    days = {seconds(day) * 1000: day for day in calendar.cutoffs()}
    moments = sorted([*((moment_ms, "") for moment_ms in days), *mailings.moments()])
    for at_ms, _, body in load_events(end_ms=calendar.end_seconds * 1000):
        while moments and at_ms >= moments[0][0]:
            moment_ms, cid = moments.pop(0)
            snapshot = recorder.read(moment_ms)
            if cid:
                mailings.snapshots[cid] = snapshot
            else:
                np.savez(cutoff_path(directory, days[moment_ms]), **snapshot._asdict())
        mailings.note(body, recorder.places)
        recorder.fold(body, at_ms)
        advance(1)
    np.savez(directory / "purchases.npz", **recorder.purchases()._asdict())
    for mailing in mailings.finished():
        fields = {**mailing.snapshot._asdict(), **mailing._asdict(), "crids": np.array(mailing.crids)}
        np.savez(mailing_path(directory, mailing.cid), **{k: v for k, v in fields.items() if k != "snapshot"})
    described = {
        "categories": recorder.labels.names,
        "households": household_ids(),
        "texts": list(recorder.text_rows),
        "mailed": sorted(mailings.snapshots, key=int),
        "calendar": calendar.document(),
        "data": {"name": DATA_NAME, "sha256": data_hash()},
    }
    (directory / "samples.json").write_text(json.dumps(described), encoding="utf-8")
    return Samples(directory)


class Recorder:
    """Holds every household's state while the year goes by."""

    def __init__(self, labels: LabelSet, households: list[int]) -> None:
        self.labels = labels
        self.text_rows: dict[str, int] = {}
        self.places = {str(household): place for place, household in enumerate(households)}
        self._policy = WindowPolicy(interest_level=INTEREST_LEVEL)
        self._states = [UserState() for _ in households]
        self._texts: dict[int, str] = {}
        self._baskets: dict[str, int] = {}
        self._lines: list[tuple[int, int, int, int, int]] = []
        self._folded = 0

    def fold(self, body: dict[str, Any], at_ms: int) -> None:
        """Apply one event, given as the JSON object of the input contract; its values are trusted."""
        items = [Item.model_construct(None, **item) for item in body.get("items", ())]
        ad = AdReference.model_construct(None, **body["ad"]) if "ad" in body else None
        event = BehaviourEvent.model_construct(None, **{**body, "items": items, "ad": ad})
        if event.is_bot:
            return  # as in FOLD: nothing is learnt from it
        event_id = body["event_id"].encode()
        self._folded += 1
        received = Received(0, self._folded, at_ms, event_hash(event.source, event_id), 0, event_id)
        place = self.places[event.user_id]
        decoded = Decoded(event, at_ms, Change.NONE)
        fold_event(self._states[place], decoded, received, self._policy, self._texts)
        if event.event_type == "purchase":
            self._count(event, place, at_ms)

    def purchases(self) -> Purchases:
        """All that was bought so far, as columns."""
        columns = np.array(self._lines, dtype=np.int64).reshape(-1, 5).T
        household, basket, interest, text = (column.astype(np.int32) for column in columns[:4])
        return Purchases(household, basket, interest, text, columns[4])

    def read(self, now_ms: int) -> Snapshot:
        """All households at this moment."""
        states, size = self._states, self._policy.size
        rows, labels = self.labels.row_by_category, len(self.labels)
        texts = np.full((len(states), size), -1, dtype=np.int32)
        kinds = np.zeros((len(states), size), dtype=np.uint8)
        occurred = np.zeros((len(states), size), dtype=np.int64)
        for place, state in enumerate(states):
            length = len(state.window)
            texts[place, :length] = self._text_rows(state.window.texts)
            kinds[place, :length] = state.window.kinds
            occurred[place, :length] = state.window.occurred
        return Snapshot(
            history=np.stack(
                [history_features(state, rows, labels, now_ms).astype(np.float16) for state in states]
            ),
            user=np.stack([user_features(state, now_ms) for state in states]),
            window_texts=texts,
            window_kinds=kinds,
            window_occurred=occurred,
            impressions=np.array([state.exposures.impressions for state in states], dtype=np.int32),
            clicks=np.array([state.exposures.clicks for state in states], dtype=np.int32),
        )

    def _count(self, event: BehaviourEvent, place: int, at_ms: int) -> None:
        basket = self._baskets.setdefault(event.transaction_id or "", len(self._baskets))
        for text, text_hash, category in render_event(event, INTEREST_LEVEL):
            if text_hash:
                row = self.text_rows.setdefault(text, len(self.text_rows))
                interest = self.labels.row_by_category.get(category, -1)
                self._lines.append((place, basket, interest, row, at_ms // 1000))

    def _text_rows(self, hashes: Iterable[int]) -> list[int]:
        return [self.text_rows[self._texts[text_hash]] for text_hash in hashes]


class _Mailings:
    """Who got which coupons, and who redeemed them."""

    def __init__(self) -> None:
        self._campaigns = {
            campaign["cid"]: campaign
            for campaign in campaigns()
            if campaign["type"] in _MAILED_TYPES and campaign["starts_at_ms"] >= seconds(FIRST_MAILING) * 1000
        }
        self._recipients: dict[str, set[int]] = defaultdict(set)
        self._redeemed: set[tuple[str, str, int]] = set()
        self.snapshots: dict[str, Snapshot] = {}

    def moments(self) -> list[tuple[int, str]]:
        """When each campaign is read: as its day begins, before its coupons count as shown."""
        return [(campaign["starts_at_ms"], cid) for cid, campaign in self._campaigns.items()]

    def note(self, body: dict[str, Any], places: dict[str, int]) -> None:
        """Remember a coupon sent or redeemed."""
        ad = body.get("ad")
        if ad is None or ad["cid"] not in self._campaigns:
            return
        place = places[body["user_id"]]
        if body["event_type"] == "ad_impression":
            self._recipients[ad["cid"]].add(place)
        else:
            self._redeemed.add((ad["cid"], ad["crid"], place))

    def finished(self) -> list[Mailing]:
        """The campaigns that were read."""
        return [self._finished(cid, snapshot) for cid, snapshot in self.snapshots.items()]

    def _finished(self, cid: str, snapshot: Snapshot) -> Mailing:
        households = np.array(sorted(self._recipients[cid]), dtype=np.int64)
        crids = [creative["crid"] for creative in self._campaigns[cid]["creatives"]]
        redeemed = [[(cid, crid, place) in self._redeemed for crid in crids] for place in households.tolist()]
        return Mailing(
            cid=cid,
            at_ms=self._campaigns[cid]["starts_at_ms"],
            households=households,
            snapshot=snapshot.of(households),
            crids=crids,
            redeemed=np.array(redeemed, dtype=np.bool_).reshape(len(households), len(crids)),
        )
