"""Which product was bought when by whom, and where it stands in the catalogue: read from the archive, which names products.

Shapes: m purchase lines, N users of the samples, T texts of the samples.
"""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.decode import decode_event
from stream.errors import RejectionError
from stream.events import Item
from stream.render import render_item
from trainer.dates import DAY_SECONDS
from trainer.events.reading import stored_records
from trainer.samples import Samples

#: Where no product stands.
NOWHERE: Final = -1


class Lines(NamedTuple):
    """Purchase lines by time, [m] each, and the tree."""

    user: NDArray[np.int64]
    text: NDArray[np.int64]
    product: NDArray[np.int64]
    at_seconds: NDArray[np.int64]
    #: Node of each text at each level of the tree by number, [T, levels]; ``NOWHERE`` of texts that no line has.
    nodes: NDArray[np.int64]

    def before(self, moment: int) -> "Lines":
        """The lines before a second, UTC epoch."""
        kept = self.at_seconds < moment
        return Lines(self.user[kept], self.text[kept], self.product[kept], self.at_seconds[kept], self.nodes)


def read_lines(archive: Path, samples: Samples) -> Lines:
    """All purchase lines of an archive whose text the samples know."""
    user_rows = {user: row for row, user in enumerate(samples.households)}
    text_rows = {appeared: row for row, appeared in enumerate(samples.appearances)}
    products: dict[str, int] = {}
    nodes: dict[tuple[str | None, ...], int] = {}
    tree = np.full((len(samples.texts), 3), NOWHERE, dtype=np.int64)
    found: list[tuple[int, int, int, int]] = []
    for record in stored_records(archive, event_type="purchase"):
        try:
            decoded = decode_event(record.value, record.timestamp)
        except RejectionError:
            continue
        user = user_rows.get(decoded.event.user_id)
        if user is None or decoded.event.is_bot:
            continue
        for item in decoded.event.items:
            text = text_rows.get(render_item(item, samples.labels.level).text)
            if text is None:
                continue
            product = products.setdefault(item.item_id, len(products))
            found.append((user, text, product, decoded.occurred_at_ms // 1000))
            tree[text] = [nodes.setdefault(path, len(nodes)) for path in _paths(item)]
    columns = np.array(sorted(found, key=lambda line: line[3]), dtype=np.int64).reshape(-1, 4)
    return Lines(columns[:, 0], columns[:, 1], columns[:, 2], columns[:, 3], tree)


def new_products(lines: Lines, start: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Products that were first bought at ``start <= t < end``, and the text of each, [P]."""
    products, first = np.unique(lines.product, return_index=True)
    fresh = (lines.at_seconds[first] >= start) & (lines.at_seconds[first] < end)
    return products[fresh], lines.text[first[fresh]]


def weights(lines: Lines, now: int, half_life_days: float, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Decayed number of lines by user and text as of a second, [N, T]."""
    decayed = np.exp2(-(now - lines.at_seconds) / DAY_SECONDS / half_life_days)
    flat = np.bincount(lines.user * shape[1] + lines.text, decayed, minlength=shape[0] * shape[1])
    return np.asarray(flat.reshape(shape), dtype=np.float32)


def _paths(item: Item) -> list[tuple[str | None, ...]]:
    """The item's department, category and type, each as the path from the root."""
    levels = (item.item_category, item.item_category2, item.item_category3)
    return [levels[: depth + 1] for depth in range(len(levels))]
