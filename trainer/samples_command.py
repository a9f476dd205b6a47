"""``interestflow-trainer samples``: samples of an event archive, and whether they say what a worker would have seen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from stream.archive.description import InterestChoice, is_finished, read_description
from stream.model.images import read_images
from stream.model.repository import load_bundle
from trainer.capacity import training_bytes
from trainer.events.journey import JOURNEY_EVENTS, archive_journey
from trainer.images import image_counts
from trainer.progress import Progress, shown
from trainer.record import plan_samples, write_samples
from trainer.sample_check import CheckSize, check_samples
from trainer.telling import tell
from trainer.workspace import Workspace

samples = typer.Typer()
_CONSOLE: Final = Console(stderr=True)
_NOTHING_SAID: Final[Mapping[str, Any]] = {}

WorkOption = Annotated[Path, typer.Option("--work", help="Where stages leave their results; some 0.6 GB.")]
ArchiveOption = Annotated[
    Path | None,
    typer.Option("--events", help="Event archive; without it the Complete Journey, written if need be."),
]
_InterestLevel = Annotated[
    int | None,
    typer.Option(min=1, max=5, help="Which of an item's categories is the interest; else the archive's."),
]
_MinBuyers = Annotated[
    int | None, typer.Option(min=1, help="An interest needs so many buyers; else the archive's number.")
]
_MostUsers = Annotated[
    int | None,
    typer.Option(
        "--users",
        min=1,
        help="Sample so many at most, drawn by a hash of their ids: training keeps them in memory.",
    ),
]
_InterestsOf = Annotated[
    Path | None,
    typer.Option(
        help="The interests of the newest version in that model repository: an update needs the same."
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        help="Image catalogue (.npz): train with the images that events name (docs/item-images.md).",
    ),
]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures there.")]
WORK: Final = Path("data/trainer")


@samples.callback(invoke_without_command=True)
def samples_command(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    context: typer.Context,
    work: WorkOption = WORK,
    archive: ArchiveOption = None,
    interest_level: _InterestLevel = None,
    min_buyers: _MinBuyers = None,
    users: _MostUsers = None,
    interests_of: _InterestsOf = None,
    images: ImagesOption = None,
    json: _Json = None,
) -> None:
    """Fold the events of an archive and write what was known of each user at each cutoff."""
    if context.invoked_subcommand is None:
        said = _said(interest_level, min_buyers)
        if interests_of is not None:
            said |= interests_of_version(interests_of)
        tell(make_samples(Workspace(work), archive, said, users, images), json)


@samples.command("check")
def check_command(  # noqa: PLR0913, PLR0917 - each is an option of the command line
    work: WorkOption = WORK,
    archive: ArchiveOption = None,
    interest_level: _InterestLevel = None,
    min_buyers: _MinBuyers = None,
    moments: Annotated[int, typer.Option(min=1, help="Drawn moments to compare at.")] = CheckSize().moments,
    users: Annotated[int, typer.Option(min=1, help="Drawn users at each.")] = CheckSize().users,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = CheckSize().seed,
    json: _Json = None,
) -> None:
    """Replay an archive through the sample maker and through a worker's steps, and compare; exit code 1 if they differ."""
    with shown(_CONSOLE) as progress:
        archive = _archive(Workspace(work), archive, progress)
        bar = progress("replay events", read_description(archive).events)
        choice = _choice(archive, _said(interest_level, min_buyers))
        found = check_samples(archive, CheckSize(moments=moments, users=users, seed=seed), choice, bar)
    tell(found.document(), json)
    if found.mismatches:
        raise typer.Exit(1)


def make_samples(
    work: Workspace,
    archive: Path | None = None,
    said: Mapping[str, Any] = _NOTHING_SAID,
    most_users: int | None = None,
    images: Path | None = None,
) -> dict[str, Any]:
    """The stage; figures.

    Args:
        work: Gets the samples.
        archive: None for the Complete Journey.
        said: What the command line says of interests.
        most_users: None for all.
        images: An image catalogue.
    """
    catalogue = None if images is None else read_images(images)
    with shown(_CONSOLE) as progress:
        archive = _archive(work, archive, progress)
        bar = progress("fold events", read_description(archive).events)
        plan = plan_samples(archive, _choice(archive, said), most_users)
        made = write_samples(plan, work.samples_directory, bar, catalogue)
    return {
        "households": len(made.households),
        "held_out": int(made.held_out.sum()),
        "interests": len(made.labels),
        "texts": len(made.texts),
        **({} if catalogue is None else {"images": image_counts(made)}),
        "purchase_lines": plan.recorder.line_counts()._asdict(),
        "training_gb": round(training_bytes(made) / 1e9, 1),
        "calendar": made.calendar.document(),
    }


def interests_of_version(repository: Path) -> dict[str, Any]:
    """The interests of a repository's newest version, as a choice for new samples."""
    bundle = load_bundle(repository)
    return {
        "categories": tuple(interest.name for interest in bundle.interests),
        "level": bundle.interest_level,
        "taxonomy": bundle.taxonomy,
    }


def _archive(work: Workspace, given: Path | None, progress: Progress) -> Path:
    """The archive that was named, or the Complete Journey's."""
    if given is not None:
        return given
    if not is_finished(work.journey_archive):
        archive_journey(work.journey_archive, progress("write the Complete Journey's events", JOURNEY_EVENTS))
    return work.journey_archive


def _said(interest_level: int | None, min_buyers: int | None) -> dict[str, int]:
    said = {"level": interest_level, "min_buyers": min_buyers}
    return {name: value for name, value in said.items() if value is not None}


def _choice(archive: Path, said: Mapping[str, Any]) -> InterestChoice:
    """What the archive says of interests, and the command line in its place; a list of categories is of one level."""
    choice = read_description(archive).interests
    return InterestChoice(**{**choice.model_dump(), "categories": (), **said}) if said else choice
