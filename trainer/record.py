"""Samples of an event archive: what was known of each user at each cutoff and mailing, and what was bought after.

The records go through ``stream.decode`` and ``stream.fold`` and the features come from ``stream.features``, so that what
is trained on and what is served can't differ.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stream.archive.description import Description, InterestChoice, read_description
from stream.model.images import ImageCatalogue
from trainer.calendar import Calendar, calendar_of
from trainer.dates import seconds
from trainer.errors import TrainerError
from trainer.events.reading import stored_records, totals, user_ids
from trainer.images import keep_images
from trainer.label_choice import choose_labels
from trainer.mailings import Mailings
from trainer.recorder import Recorder
from trainer.samples import (
    Purchases,
    Samples,
    cutoff_path,
    drawn_users,
    images_path,
    mailing_path,
    purchases_path,
    write_description,
)


class Plan(NamedTuple):
    """What is to be sampled of an archive."""

    archive: Path
    described: Description
    calendar: Calendar
    recorder: Recorder
    users: list[str]


def plan_samples(archive: Path, choice: InterestChoice | None = None, most_users: int | None = None) -> Plan:
    """Calendar, users and interests of an archive.

    Args:
        archive: A finished one.
        choice: In place of what the archive says of interests.
        most_users: Sample so many users at most, drawn by a hash of their ids; None: all.

    Raises:
        ConfigurationError: If there is no finished archive.
        TrainerError: If it has too little data.
    """
    described = read_description(archive)
    bought = [total for total in totals(archive) if total.event_type == "purchase"]
    if not bought:
        raise TrainerError(f"{archive} has no purchases, and what is predicted are purchases: import some")
    calendar = calendar_of(_day(bought[0].first_ms), _day(bought[0].last_ms))
    users = drawn_users(user_ids(archive), most_users)
    labels = choose_labels(
        archive, choice or described.interests, seconds(calendar.validation) * 1000, frozenset(users)
    )
    return Plan(archive, described, calendar, Recorder(labels, users, calendar.end_seconds * 1000), users)


def write_samples(
    plan: Plan,
    directory: Path,
    advance: Callable[[int], None] = lambda _: None,
    images: ImageCatalogue | None = None,
) -> Samples:
    """Fold all records and write the samples.

    Args:
        plan: From :func:`plan_samples`; its recorder is used up.
        directory: Gets the files; of the Complete Journey some 0.3 GB.
        advance: Told how many records more were folded.
        images: Vectors of the images that events name; those that they do name are kept with the samples.

    Raises:
        TrainerError: If an interest has no buyer to learn from, or no image that events name is in the catalogue.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "samples.json").unlink(missing_ok=True)
    recorder, calendar = plan.recorder, plan.calendar
    mailings = Mailings(plan.described.campaigns)
    reading = _Reading(plan, directory, mailings)
    end_ms = calendar.end_seconds * 1000
    for record in stored_records(plan.archive):
        reading.read_until(record.timestamp)
        folded = recorder.fold(record)
        if folded is not None and record.timestamp < end_ms:
            mailings.note(*folded)
        advance(1)
    reading.read_until(seconds(calendar.tests[-1]) * 1000)
    purchases, received = recorder.purchases()
    np.savez(purchases_path(directory), **purchases._asdict(), received_seconds=received)
    for mailing in mailings.finished():
        fields = {**mailing.snapshot._asdict(), **mailing._asdict(), "crids": np.array(mailing.crids)}
        np.savez(mailing_path(directory, mailing.cid), **{k: v for k, v in fields.items() if k != "snapshot"})
    appearances = list(recorder.text_rows)
    keep_images(appearances, images, images_path(directory))
    described = {
        "categories": recorder.labels.names,
        "taxonomy": recorder.labels.taxonomy,
        "interest_level": recorder.labels.level,
        "households": plan.users,
        "texts": appearances,
        "campaigns": plan.described.campaigns,
        "mailed": sorted(mailings.snapshots, key=lambda cid: (len(cid), cid)),
        "calendar": calendar.document(),
        "data": {"name": plan.described.name, "sha256": plan.described.sha256},
    }
    write_description(directory, described)
    samples = Samples(directory)
    _require_buyers(samples, samples.catalogue())
    return samples


class _Reading:
    """Reads the recorder at each cutoff and mailing, in time order."""

    def __init__(self, plan: Plan, directory: Path, mailings: Mailings) -> None:
        self._recorder = plan.recorder
        self._directory = directory
        self._mailings = mailings
        self._days = {seconds(day) * 1000: day for day in plan.calendar.cutoffs()}
        end_ms = plan.calendar.end_seconds * 1000
        sent = [moment for moment in mailings.moments() if moment[0] < end_ms]
        self._moments = sorted([*((moment_ms, "") for moment_ms in self._days), *sent])

    def read_until(self, now_ms: int) -> None:
        """Read at all moments up to now, before what is received now."""
        while self._moments and now_ms >= self._moments[0][0]:
            moment_ms, cid = self._moments.pop(0)
            snapshot = self._recorder.read(moment_ms)
            if cid:
                self._mailings.snapshots[cid] = snapshot
            else:
                np.savez(cutoff_path(self._directory, self._days[moment_ms]), **snapshot._asdict())


def _require_buyers(samples: Samples, purchases: Purchases) -> None:
    missing = np.setdiff1d(np.arange(len(samples.labels)), purchases.interest)
    if missing.size:
        names = ", ".join(repr(samples.labels.names[row]) for row in missing[:5])
        raise TrainerError(
            f"{missing.size} interests have no buyer to learn from before {samples.calendar.validation}: {names}; leave "
            "them out of the list of categories"
        )


def _day(at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()
