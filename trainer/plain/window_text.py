"""The behaviour window as one text, and rows of it with what was bought afterwards.

Shapes: n rows = household and cutoff, L interests, W window places.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.events import EVENT_TYPES
from stream.features import USER_FEATURES
from trainer.augmentation import Alter, Behaviours, windows_of
from trainer.dates import DAY_SECONDS, seconds
from trainer.head_inputs import masks
from trainer.ranking import Question
from trainer.samples import Purchases, Samples, outcomes

_DAY_MS: Final = DAY_SECONDS * 1000
#: Up to so many days ago, and how that is said.
_AGES: Final = (
    (1, "today"),
    (7, "this week"),
    (14, "last week"),
    (28, "this month"),
    (56, "last month"),
)
_LONG_AGO: Final = "before"
_FIRST_SEEN: Final = USER_FEATURES.index("days_since_first_seen")


#: A model that sees altered windows only would meet none as users have them.
_ALTERED_RATIO: Final = 0.5


class Altered(NamedTuple):
    """How windows are altered before they are told."""

    alter: Alter
    #: All texts, and those that may stand for them.
    texts: Sequence[str]
    seed: int


class WindowRows(NamedTuple):
    """What plain BERT reads and what it should say."""

    texts: list[str]
    bought: NDArray[np.bool_]  # [n, L]
    novel: NDArray[np.bool_]  # [n, L]
    never: NDArray[np.bool_]  # [n, L]
    active: NDArray[np.bool_]  # [n]

    def questions(self) -> dict[str, Question]:
        """The three variants."""
        candidates = {"all": np.ones_like(self.bought), "novel8": self.novel, "never": self.never}
        return {name: Question(self.bought, asked, self.active) for name, asked in candidates.items()}

    def spaced(self, most: int) -> "WindowRows":
        """So many of the rows at most, evenly spaced."""
        rows = np.unique(np.linspace(0, len(self.texts) - 1, min(most, len(self.texts))).astype(np.int64))
        return WindowRows([self.texts[row] for row in rows], *(column[rows] for column in self[1:]))

    @staticmethod
    def joined(parts: Sequence["WindowRows"]) -> "WindowRows":
        """All rows of the parts."""
        texts = [text for part in parts for text in part.texts]
        return WindowRows(texts, *(np.concatenate(column) for column in list(zip(*parts, strict=True))[1:]))


def window_text(
    texts: Sequence[str], kinds: Sequence[int], occurred_ms: Sequence[int], now_ms: int, most: int = 64
) -> str:
    """One text, newest behaviour first, as a person would tell it: ``purchase today: brie; milk | click last week: bread``.

    A text that comes again is said once, where it came last. A model that reads only so many tokens loses the oldest.

    Args:
        texts: Of each behaviour.
        kinds: Place in ``EVENT_TYPES`` of each.
        occurred_ms: When it was, UTC epoch.
        now_ms: When it is told.
        most: Behaviours to tell of.
    """
    said: dict[tuple[str, str], list[str]] = {}
    known: set[str] = set()
    newest_first = sorted(range(len(texts)), key=lambda place: -occurred_ms[place])
    for place in newest_first:
        if texts[place] in known or len(known) == most:
            continue
        known.add(texts[place])
        heading = EVENT_TYPES[kinds[place]], _age(now_ms - occurred_ms[place])
        said.setdefault(heading, []).append(texts[place])
    return " | ".join(f"{kind} {age}: {'; '.join(told)}" for (kind, age), told in said.items())


def read_rows(
    samples: Samples,
    purchases: Purchases,
    day: date,
    *,
    held_out: bool,
    every: int = 1,
    altered: Altered | None = None,
) -> WindowRows:
    """The households that were seen before a cutoff, every so many of them.

    Args:
        samples: Where to read.
        purchases: Its purchases.
        day: The cutoff.
        held_out: Those that nothing is fitted on, or the others.
        every: 1 for all.
        altered: Tell half of the windows altered; what was bought stays what it was.
    """
    everyone = samples.snapshot(day)
    chosen = (everyone.user[:, _FIRST_SEEN] > 0) & (samples.held_out == held_out)
    households = np.flatnonzero(chosen)[::every]
    bought, _ = outcomes(purchases, day, samples.shape)
    candidates = masks(purchases, day, samples.shape)
    return WindowRows(
        texts=_told(samples.texts, windows_of(everyone, households), seconds(day) * 1000, altered),
        bought=bought[households],
        novel=candidates.novel[households],
        never=candidates.never[households],
        active=candidates.active[households],
    )


def told_windows(samples: Samples, day: date, households: NDArray[np.int64]) -> list[str]:
    """The windows of some households at a cutoff as texts."""
    windows = windows_of(samples.snapshot(day), households)
    return _told(samples.texts, windows, seconds(day) * 1000, None)


def split_rows(
    samples: Samples, every: int, judged_every: int | None = None, altered: Altered | None = None
) -> tuple[WindowRows, WindowRows]:
    """Rows of the fit cutoffs, and of the validation cutoff; of every so many households that may be learnt from.

    Args:
        samples: Where to read.
        every: Of the rows that are fitted.
        judged_every: Of the rows of validation; ``every`` if not given.
        altered: For the rows that are fitted.
    """
    purchases, calendar = samples.purchases(), samples.calendar
    fitted = [
        read_rows(samples, purchases, day, held_out=False, every=every, altered=altered)
        for day in calendar.fit_cutoffs()
    ]
    judged = read_rows(samples, purchases, calendar.validation, held_out=False, every=judged_every or every)
    return WindowRows.joined(fitted), judged


def _told(
    texts: Sequence[str], windows: Sequence[Behaviours], now_ms: int, altered: Altered | None
) -> list[str]:
    if altered is not None:
        draw = np.random.default_rng([altered.seed, now_ms // _DAY_MS])
        texts = altered.texts
        windows = [altered.alter(one, draw) if draw.random() < _ALTERED_RATIO else one for one in windows]
    return [
        window_text(
            [texts[place] for place in one.texts.tolist()],
            one.kinds.tolist(),
            one.occurred_ms.tolist(),
            now_ms,
        )
        for one in windows
    ]


def _age(span_ms: int) -> str:
    return next((said for days, said in _AGES if span_ms < days * _DAY_MS), _LONG_AGO)
