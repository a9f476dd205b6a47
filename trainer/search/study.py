"""A study that goes on after a kill: optuna's TPE proposes, its median pruner ends what is behind, a journal keeps all of it.

Source: Akiba et al. 2019, Optuna: A Next-generation Hyperparameter Optimization Framework.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from trainer.errors import TrainerError

Settings = Mapping[str, Any]
#: Is told the figure of a look; ends the trial if it is behind.
Look = Callable[[float], None]
#: Trains with settings and gives figures by variant.
Judge = Callable[[Settings, Look], dict[str, Any]]

#: What trials are compared by: NDCG@10 of interests that were not bought in the last 56 days.
VARIANT: Final = "novel8"
FIGURE: Final = "ndcg10"
#: Drawn at random before the sampler draws from what it has seen.
_RANDOM_TRIALS: Final = 5
#: No trial is ended before so many have come to their end, nor before its second look.
_WHOLE_TRIALS: Final = 3
_WHOLE_LOOKS: Final = 2
_FINISHED: Final = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What is searched.

    Attributes:
        space: Where each setting may lie.
        usual: The settings of the recipe; they are the first trial.
        fixed: Everything else that decides a figure. A study of something else is not gone on with.
        trials: So many in all, those of earlier runs among them.
        seed: Of the proposals.
    """

    space: Mapping[str, BaseDistribution]
    usual: Settings
    fixed: Mapping[str, Any]
    trials: int
    seed: int = 0


def search(
    plan: SearchPlan, path: Path, judge: Judge, advance: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Run the trials that are not there yet; all of them, and the best.

    A trial that was killed is made again: the proposals are those of an undisturbed study.

    Args:
        plan: What to search.
        path: The journal; made, or gone on with.
        judge: Trains and judges.
        advance: Told finished trials, those of earlier runs among them.

    Raises:
        TrainerError: If the journal is of another plan.
    """
    study = _study(plan, path)
    done = len(study.get_trials(deepcopy=False, states=_FINISHED))
    advance(min(done, plan.trials))
    while done < plan.trials:
        study.sampler = optuna.samplers.TPESampler(seed=plan.seed + done, n_startup_trials=_RANDOM_TRIALS)
        if not done:
            study.enqueue_trial(dict(plan.usual))
        trial = study.ask(dict(plan.space))
        try:
            figures = judge(trial.params, _look(trial))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("validation", figures)
            study.tell(trial, figures[VARIANT][FIGURE])
        done += 1
        advance(1)
    return _document(study)


def _study(plan: SearchPlan, path: Path) -> optuna.Study:
    path.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path))),
        study_name=path.stem,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_WHOLE_TRIALS, n_warmup_steps=_WHOLE_LOOKS),
    )
    fixed = {**plan.fixed, "usual": dict(plan.usual), "seed": plan.seed}
    kept = study.user_attrs.setdefault("fixed", fixed)
    if kept != fixed:
        differing = sorted(name for name in {*kept, *fixed} if kept.get(name) != fixed.get(name))
        raise TrainerError(
            f"{path} keeps a study with other {', '.join(differing)}: go on with those, or begin another with --name"
        )
    study.set_user_attr("fixed", fixed)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _look(trial: optuna.Trial) -> Look:
    looks = 0

    def look(figure: float) -> None:
        nonlocal looks
        looks += 1
        trial.report(figure, looks)
        if trial.should_prune():
            raise optuna.TrialPruned

    return look


def _document(study: optuna.Study) -> dict[str, Any]:
    trials = study.get_trials(deepcopy=False, states=_FINISHED)
    whole = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    best = max(whole, key=lambda trial: trial.value or 0.0)
    return {
        "compared_by": f"{VARIANT} {FIGURE} of the validation month",
        "fixed": study.user_attrs["fixed"],
        "usual": _trial(whole[0]),
        "best": _trial(best),
        "trials": [_trial(trial) for trial in trials],
    }


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    seconds = trial.duration.total_seconds() if trial.duration is not None else None
    return {
        "settings": trial.params,
        "looks": [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)],
        "pruned": trial.state is TrialState.PRUNED,
        "figure": None if trial.state is TrialState.PRUNED else trial.value,
        "validation": trial.user_attrs.get("validation"),
        "seconds": seconds,
    }
