"""Which interests a model scores: the categories with enough buyers, counted where nothing of the test can show."""

from collections.abc import Collection, Iterable
from pathlib import Path

from stream.archive.description import InterestChoice
from stream.decode import decode_event
from stream.held_out import is_held_out
from stream.record import InputRecord
from stream.render import interest_category, normalise
from trainer.errors import TrainerError
from trainer.events.reading import stored_records
from trainer.interests import LabelSet


def choose_labels(
    archive: Path, choice: InterestChoice, validation_ms: int, users: Collection[str]
) -> LabelSet:
    """The label set of an archive.

    Args:
        archive: With the purchases.
        choice: What the archive, or the command line, says of interests.
        validation_ms: Buyers are counted before, UTC ms.
        users: Those that are sampled; others count as no buyers.

    Raises:
        TrainerError: If fewer than two categories have enough buyers.
    """
    if choice.categories:
        return LabelSet(list(choice.categories), choice.taxonomy, choice.level)
    records = stored_records(archive, event_type="purchase", before_ms=validation_ms)
    buyers = buyers_by_category(
        (record for record in records if record.timestamp < validation_ms), choice.level
    )
    known = set(users)
    names = sorted(name for name, who in buyers.items() if len(who & known) >= choice.min_buyers)
    if len(names) < 2:
        raise TrainerError(
            f"{len(names)} categories of level {choice.level} have {choice.min_buyers} buyers before validation, of "
            f"{len(buyers)} categories; a model needs two: lower --min-buyers, or choose another --interest-level"
        )
    return LabelSet(names, choice.taxonomy, choice.level)


def buyers_by_category(records: Iterable[InputRecord], level: int) -> dict[str, set[str]]:
    """Who bought each category, by its normalised name; held-out users and bots are left out."""
    buyers: dict[str, set[str]] = {}
    for record in records:
        event = decode_event(record.value, record.timestamp).event
        if event.is_bot or is_held_out(event.user_id):
            continue
        for item in event.items:
            categories = (
                item.item_category,
                item.item_category2,
                item.item_category3,
                item.item_category4,
                item.item_category5,
            )
            if name := normalise(interest_category(categories, level)):
                buyers.setdefault(name, set()).add(event.user_id)
    return buyers
