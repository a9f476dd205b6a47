"""``interestflow-trainer contrast``."""

from datetime import date
from pathlib import Path
from typing import Annotated, Final, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console

from stream.model.repository import load_bundle
from trainer.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Substitutes,
    neighbours,
    one_of,
    windows_of,
    with_synonyms,
)
from trainer.errors import TrainerError
from trainer.evaluate import ask_head
from trainer.head_inputs import read_inputs
from trainer.models import published_vectors
from trainer.parity import OnnxModel, onnx_head
from trainer.progress import shown
from trainer.published_parity import onnx_file
from trainer.samples import Samples
from trainer.telling import tell
from trainer.unsupervised.contrast import (
    ContrastNetwork,
    ContrastRecipe,
    Pairs,
    fit_contrast,
    new_contrast,
    user_states,
)
from trainer.unsupervised.linear_probe import Bought, Matrix, Vectors, probe
from trainer.unsupervised.pretrain_cli import EVERY
from trainer.unsupervised.sequences import Sequences, padded, read_fit_windows
from trainer.workspace import Workspace, make_repeatable

_CONSOLE = Console(stderr=True)
_NEIGHBOURS: Final = 5
#: Fit cutoffs that the linear models are fitted on, four weeks apart.
_PROBED: Final = 3
_USUAL = ContrastRecipe()
_REFERENCE: Final = "head_user_vectors"


def contrast_command(
    work: Annotated[Path, typer.Option(help="With the samples; runs are kept in contrast/ below it.")] = Path(
        "data/trainer"
    ),
    repository: Annotated[
        Path, typer.Option(help="The model repository: its encoder reads texts, its head is compared with.")
    ] = Path("triton_models"),
    augment: Annotated[str, typer.Option(help="Augmentations to draw from, with commas.")] = ",".join(
        AUGMENTATIONS
    ),
    steps: Annotated[int, typer.Option(min=1, help="Batches.")] = _USUAL.steps,
    seed: Annotated[int, typer.Option(min=0, help="Of everything.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from where a killed run stood.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Teach a network to tell users apart by their windows, and say by a linear model what its user vectors know."""
    recipe = ContrastRecipe(_augmentations(augment), steps=steps, seed=seed)
    make_repeatable(threads)
    samples = Workspace(work).samples()
    pairs = _pairs(samples, repository, recipe)
    path = work / "contrast" / f"{'-'.join(recipe.augmentations)}-{seed}.pt"
    with shown(_CONSOLE) as progress:
        network, figures = fit_contrast(
            pairs, recipe, path, resume=resume, advance=progress("contrast", steps)
        )
    networks = {"untrained": new_contrast(pairs, recipe), "contrast": network}
    figures |= {"validation": _judge(samples, repository, pairs, networks)}
    tell(figures, json)


class _Known(NamedTuple):
    """Users at one cutoff that have done anything: an empty window has no vector."""

    head: Matrix
    user: Matrix
    seen: Sequences
    bought: NDArray[np.bool_]  # [n, 3]
    #: How many users have an empty window.
    left_out: int


def _pairs(samples: Samples, repository: Path, recipe: ContrastRecipe) -> Pairs:
    told, synonyms = with_synonyms(samples.texts)
    vectors = published_vectors(told, repository)
    alter = one_of(recipe.augmentations, Substitutes(neighbours(vectors, _NEIGHBOURS), synonyms))
    households, windows = read_fit_windows(samples, EVERY)
    places = samples.snapshot(samples.calendar.validation).window_texts.shape[1]
    return Pairs(households, windows, alter, torch.from_numpy(vectors), places)


def _judge(
    samples: Samples, repository: Path, pairs: Pairs, networks: dict[str, ContrastNetwork]
) -> dict[str, object]:
    """Fitted on cutoffs before the validation month, asked in it."""
    days = [*samples.calendar.fit_cutoffs()[::-1][::EVERY][:_PROBED], samples.calendar.validation]
    head = onnx_head(onnx_file(repository, load_bundle(repository).head))
    known = [_known(samples, head, pairs, day) for day in days]
    kinds = {"user_features": [one.user for one in known], _REFERENCE: [one.head for one in known]}
    for name, network in networks.items():
        kinds[name] = [user_states(network, one.seen) for one in known]
    both = zip(kinds[_REFERENCE], kinds["contrast"], strict=True)
    kinds["head_and_contrast"] = [np.concatenate(pair, axis=1) for pair in both]
    vectors = {name: Vectors(np.concatenate(parts[:-1]), parts[-1]) for name, parts in kinds.items()}
    bought = Bought(np.concatenate([one.bought for one in known[:-1]]), known[-1].bought)
    found = probe(vectors, bought, _REFERENCE)
    return {
        "users": len(bought.asked),
        "users_without_behaviours": known[-1].left_out,
        "fitted_rows": len(bought.fit),
        "fitted_rows_without_behaviours": sum(one.left_out for one in known[:-1]),
        "will_buy": found,
    }


def _known(samples: Samples, head: OnnxModel, pairs: Pairs, day: date) -> _Known:
    texts = pairs.vectors[: len(samples.texts)].numpy()
    everyone = read_inputs(samples, samples.purchases(), day, texts, held_out=False)
    snapshot = samples.snapshot(day)
    did = (snapshot.window_texts[everyone.households] >= 0).any(axis=1)
    inputs = everyone.of(np.flatnonzero(did))
    windows = windows_of(snapshot, inputs.households)
    return _Known(
        head=ask_head(head, inputs).user_vectors,
        user=inputs.user.numpy(),
        seen=padded(inputs.households, windows, pairs.places),
        bought=inputs.intent.numpy(),
        left_out=int((~did).sum()),
    )


def _augmentations(named: str) -> tuple[Augmentation, ...]:
    found = tuple(name for name in AUGMENTATIONS if name in named.split(","))
    if len(found) != len(named.split(",")):
        raise TrainerError(
            f"--augment {named} is no list of augmentations, each once: write it like {','.join(AUGMENTATIONS)}"
        )
    return found
