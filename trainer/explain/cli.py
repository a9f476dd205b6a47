"""``interestflow-trainer explain``: the behaviours behind users' scores, and how far the attributions can be trusted."""

from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.console import Console

from stream.held_out import is_held_out
from stream.render import text_and_image, text_hash
from stream.window import DAY_MS
from trainer.contract import DIMENSIONS
from trainer.dates import seconds
from trainer.explain.attribution import Asking
from trainer.explain.check import EXPLAIN, CheckSize, Explained, explain_user, summary
from trainer.explain.refold import Refolder, records_of, steps_of
from trainer.models import models_of
from trainer.progress import Progress, shown
from trainer.samples import Samples
from trainer.samples_command import WORK, ArchiveOption, WorkOption
from trainer.telling import tell
from trainer.workspace import Workspace

_CONSOLE: Final = Console(stderr=True)
#: How many behaviours of the example are told.
_TOLD: Final = 5


def explain(
    work: WorkOption = WORK,
    archive: ArchiveOption = None,
    repository: Annotated[
        Path | None, typer.Option(help="Explain the published version there, not the run's own.")
    ] = None,
    users: Annotated[int, typer.Option(min=1, help="Users drawn, who are not held out.")] = CheckSize().users,
    interests: Annotated[
        int, typer.Option(min=1, help="The highest scores of each.")
    ] = CheckSize().interests,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = CheckSize().seed,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Explain scores at the validation cutoff, and hold the attributions against leaving each behaviour out."""
    workspace = Workspace(work)
    size = CheckSize(users, interests, seed)
    with shown(_CONSOLE) as progress:
        figures = explain_scores(workspace, archive or workspace.journey_archive, repository, size, progress)
    workspace.save_json(EXPLAIN, figures)
    tell(figures, json)


def explain_scores(
    work: Workspace, archive: Path, repository: Path | None, size: CheckSize, progress: Progress
) -> dict[str, Any]:
    """Rank correlations with leaving out by method, and one explained score as an example."""
    samples = work.samples()
    now_ms = seconds(samples.calendar.validation) * 1000
    chosen = _draw_users(samples, size)
    records = records_of(archive, frozenset(chosen), now_ms)
    models = models_of(work, repository)
    asking = Asking(
        head=models.head,
        row_by_category=samples.labels.row_by_category,
        labels=len(samples.labels),
        now_ms=now_ms,
        vectors={
            text_hash(appeared): models.vectors.texts[row] for row, appeared in enumerate(samples.appearances)
        },
        dimensions=DIMENSIONS,
    )
    refolder, advance = Refolder(samples.labels.level), progress("explain users", len(chosen))
    explained: list[Explained] = []
    for number, user in enumerate(chosen):
        steps = steps_of(records[user])
        explained += explain_user(number, steps, refolder, asking, models.vectors.names, size.interests)
        advance(1)
    return {
        "cutoff": samples.calendar.validation.isoformat(),
        "methods": summary(explained),
        "example": _example(explained, samples, refolder, records, chosen, now_ms) if explained else None,
    }


def _draw_users(samples: Samples, size: CheckSize) -> list[str]:
    users = [user for user in samples.households if not is_held_out(user)]
    drawn = np.random.default_rng(size.seed).permutation(len(users))[: size.users]
    return [users[place] for place in sorted(drawn.tolist())]


def _example(
    explained: list[Explained],
    samples: Samples,
    refolder: Refolder,
    records: dict[str, Any],
    chosen: list[str],
    now_ms: int,
) -> dict[str, Any]:
    """The first score, with the behaviours that add most to it; the user is not named."""
    one = explained[0]
    window = refolder.fold(steps_of(records[chosen[one.user]])).window
    added = one.by_method["occlusion"]
    return {
        "interest": samples.labels.names[one.interest],
        "behaviours": [
            {
                "text": text_and_image(refolder.texts[window.texts[row]])[0],
                "days_ago": round((now_ms - window.occurred[row]) / DAY_MS, 1),
                "occlusion": float(added[row]),
                "left_out": float(one.left_out[row]),
            }
            for row in np.argsort(-added, kind="stable")[:_TOLD].tolist()
        ],
    }
