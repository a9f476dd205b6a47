"""Whether a machine can hold what is trained on: derived features of every user, cutoff and interest lie in memory."""

import os
from typing import Final

from trainer.errors import TrainerError
from trainer.samples import Samples

#: Per user that may be learnt from, fit cutoff and interest; estimated from the arrays' types, not measured.
_CELL_BYTES: Final = 400
#: Libraries, encoder and its optimiser.
_FIXED_BYTES: Final = 2_000_000_000


def training_bytes(samples: Samples) -> int:
    """About how much memory training takes at its peak."""
    cells = int(samples.fitted.sum()) * len(samples.calendar.fit_cutoffs()) * len(samples.labels)
    return _FIXED_BYTES + cells * _CELL_BYTES


def require_memory(samples: Samples, machine_bytes: int | None = None) -> None:
    """Pass samples that this machine can train on.

    Args:
        samples: What is to be trained on.
        machine_bytes: Memory of the machine; None: of this one.

    Raises:
        TrainerError: If they need more; says how many users would fit.
    """
    there = machine_bytes or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = training_bytes(samples)
    if needed <= there:
        return
    users = len(samples.households)
    fitting = int(users * max(there - _FIXED_BYTES, 0) / (needed - _FIXED_BYTES))
    raise TrainerError(
        f"training on {users} users, {len(samples.labels)} interests and {len(samples.calendar.fit_cutoffs())} cutoffs "
        f"needs about {needed / 1e9:.0f} GB of memory, and this machine has {there / 1e9:.0f} GB: make the samples "
        f"again with --users {fitting}, or with a higher --min-buyers"
    )
