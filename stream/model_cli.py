"""``interestflow model``: which version scores whom, and changing it without losing an update."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from stream.errors import ConfigurationError
from stream.rollout import Rollout
from stream.rollout_orders import Standing, order_promotion, order_rollback, order_trial, standing
from stream.settings import load_settings

model = typer.Typer(no_args_is_help=True, help="Try, promote and take back model versions.")

VersionArgument = Annotated[str, typer.Argument(help="A version directory of interest_head.")]


@model.command()
def status() -> None:
    """Show the rollout in force, and which versions Triton answers with."""
    told: Standing = _run(standing(load_settings()))
    typer.echo(describe(told.rollout))
    for line in told.lines:
        typer.echo(f"version {line.version}: {line.roles}; {line.served}")


@model.command()
def shadow(version: VersionArgument) -> None:
    """Score with a version beside the champion, publish nothing of it, and compare the two in the metrics."""
    _tell(order_trial(load_settings(), _number(version), None))


@model.command()
def canary(
    version: VersionArgument,
    share: Annotated[float, typer.Option(min=0.001, max=1.0, help="Of the users.")] = 0.05,
) -> None:
    """Score a share of the users with a version; it is taken back by itself when it leaves its bounds."""
    _tell(order_trial(load_settings(), _number(version), share))


@model.command()
def promote(version: VersionArgument) -> None:
    """Make a version the champion of all workers."""
    _tell(order_promotion(load_settings(), _number(version)))


@model.command()
def rollback(reason: Annotated[str, typer.Option(help="Kept in the record.")] = "ordered") -> None:
    """Take the challenger back; without one, go back to the champion before this one."""
    _tell(order_rollback(load_settings(), reason))


def describe(rollout: Rollout | None) -> str:
    """A rollout in one line."""
    if rollout is None:
        return "no rollout: each worker takes the newest version of its repository as it starts"
    match rollout.mode:
        case "none":
            trial = "no challenger"
        case "shadow":
            trial = f"challenger {rollout.challenger} in the shadow"
        case "canary":
            trial = f"challenger {rollout.challenger} for {rollout.share:.1%} of the users"
    back = f", previous champion {rollout.previous}" if rollout.previous else ""
    return f"champion {rollout.champion}, {trial}{back} ({rollout.reason})"


def _number(version: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        raise ConfigurationError(
            f"{version!r} is no version: name a version directory of interest_head, such as 2"
        )
    return version


def _tell(order: Coroutine[Any, Any, Rollout]) -> None:
    typer.echo(f"{describe(_run(order))}; workers follow within seconds (model_roles in their metrics)")


def _run(task: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(task)
