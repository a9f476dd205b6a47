"""What more users would bring: the same training on growing shares of the users that may be learnt from.

Judged on the held-out users of the validation month, never on the test months.
"""

from collections.abc import Sequence
from typing import Any

from trainer.errors import TrainerError
from trainer.progress import Progress
from trainer.recipe import Recipe
from trainer.rows import SplitReader
from trainer.train import measure_head, train_encoder, train_head
from trainer.workspace import Workspace


def learning_curve(
    work: Workspace, shares: Sequence[float], recipe: Recipe, progress: Progress
) -> list[dict[str, Any]]:
    """Train once per share; figures of each, in the order given.

    Args:
        work: With samples. Each share's run is kept below it.
        shares: In percent, above 0 to 100.
        recipe: The same for all.
        progress: Shows bars.

    Raises:
        TrainerError: If a share is no percentage or leaves nobody.
    """
    whole = work.samples()
    curve = []
    for share in shares:
        if not 0.0 < share <= 100.0:
            raise TrainerError(
                f"a share of {share:g} % is none: give percentages above 0 up to 100, as 5,10,25"
            )
        part = Workspace(
            work.directory / "learning-curve" / f"{share:g}", work.samples_directory, share / 100.0
        )
        part.directory.mkdir(parents=True, exist_ok=True)
        samples = part.samples()
        if not samples.fitted.any():
            raise TrainerError(
                f"{share:g} % of {int(whole.fitted.sum())} users leave nobody to learn from: give a larger share"
            )
        encoder = train_encoder(part, recipe.encoder, progress)
        head = train_head(part, recipe.head, progress)
        held_out = SplitReader(samples, part.vectors()).read(samples.calendar.validation, held_out=True)
        curve.append(
            {
                "share_percent": share,
                "users": int(samples.fitted.sum()),
                "purchase_lines": len(samples.fit_purchases(samples.calendar.validation).household),
                "rows": head["rows"],
                "agreement_unseen_texts": encoder["agreement_unseen_after"],
                "held_out_validation": measure_head(part.head(recipe.head.shape), held_out),
            }
        )
    return curve
