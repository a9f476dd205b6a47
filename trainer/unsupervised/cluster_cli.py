"""``interestflow-trainer user-vectors`` and ``interestflow-trainer clusters …``."""

import csv
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from trainer.errors import TrainerError
from trainer.progress import shown
from trainer.telling import tell
from trainer.unsupervised.cluster_choice import Candidate, ClusterRecipe, choose, fit_kmeans, try_each
from trainer.unsupervised.cluster_report import cluster_report, report_markdown
from trainer.unsupervised.clusters import Clusters, first_version, next_version
from trainer.unsupervised.user_vectors import UserVectors, head_user_vectors, load_user_vectors
from trainer.workspace import Workspace, write_json

clusters_app = typer.Typer(no_args_is_help=True, help="Interest clusters over user vectors.")

_CONSOLE = Console(stderr=True)
#: The clusters that are kept come from more starts than those that are only compared.
_FINAL_STARTS: Final = 20

_Vectors = Annotated[Path, typer.Option(help="The file that `user-vectors` wrote.")]
_Clusters = Annotated[Path, typer.Option("--clusters", help="The file that `clusters fit` wrote.")]
_Work = Annotated[Path, typer.Option(help="The work directory with the samples.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write the figures there.")]
_WORK = Path("data/trainer")
_VECTORS = Path("data/trainer/user-vectors.npz")
_CLUSTERS = Path("data/trainer/clusters.json")
_GRID = ",".join(map(str, ClusterRecipe().grid))


def user_vectors(
    work: _Work = _WORK,
    repository: Annotated[Path, typer.Option(help="The model repository to ask.")] = Path("triton_models"),
    at: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The cutoff; the validation cutoff if not given."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the vectors go.")] = _VECTORS,
    json: _Json = None,
) -> None:
    """Ask the published head for the vectors of all households that may be learnt from."""
    samples = Workspace(work).samples()
    day = samples.calendar.validation if at is None else at.date()
    vectors = head_user_vectors(samples, repository, day)
    vectors.save(out)
    tell(
        {"users": len(vectors.users), "dimensions": vectors.vectors.shape[1], "source": vectors.source}, json
    )


@clusters_app.command()
def fit(
    vectors: _Vectors = _VECTORS,
    out: Annotated[
        Path, typer.Option(help="The clusters; if the file is there, its ids go on in the new version.")
    ] = _CLUSTERS,
    grid: Annotated[str, typer.Option(help="Numbers of clusters to try, with commas.")] = _GRID,
    seed: int = 0,
    json: _Json = None,
) -> None:
    """Choose the number of clusters, fit them and give them ids."""
    given = load_user_vectors(vectors)
    recipe = ClusterRecipe(grid=_numbers(grid), seed=seed)
    with shown(_CONSOLE) as progress:
        candidates = try_each(given.vectors, recipe, progress("try numbers of clusters", len(recipe.grid)))
    chosen = choose(candidates, recipe.least_stability)
    _CONSOLE.print(_table(candidates, chosen))
    made = fit_version(given, chosen.k, seed, out)
    figures = {"k": chosen.k, "grid": [one._asdict() for one in candidates], "history": made.history[-1]}
    tell(figures, json)


@clusters_app.command()
def report(
    vectors: _Vectors = _VECTORS,
    clusters: _Clusters = _CLUSTERS,
    work: _Work = _WORK,
    page: Annotated[Path | None, typer.Option(help="Write the report there as Markdown.")] = None,
    json: _Json = None,
) -> None:
    """Say what each cluster is about."""
    found = cluster_report(Clusters.load(clusters), load_user_vectors(vectors), Workspace(work).samples())
    told = report_markdown(found)
    if page is not None:
        page.write_text(told, encoding="utf-8")
    if json is not None:
        write_json(json, found)
    print(told, end="")


@clusters_app.command()
def assign(
    vectors: _Vectors = _VECTORS,
    clusters: _Clusters = _CLUSTERS,
    out: Annotated[Path | None, typer.Option(help="Write user,cluster lines there (CSV).")] = None,
    json: _Json = None,
) -> None:
    """Name the cluster of each user."""
    given, made = load_user_vectors(vectors), Clusters.load(clusters)
    members = made.assign(given.vectors)
    if out is not None:
        with out.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(["user", "cluster"])
            lines.writerows(zip(given.users.tolist(), members.tolist(), strict=True))
    ids, sizes = np.unique(members, return_counts=True)
    sizes_by_id = {str(one): size for one, size in zip(ids.tolist(), sizes.tolist(), strict=True)}
    tell({"version": made.version, "users": len(members), "sizes": sizes_by_id}, json)


def fit_version(vectors: UserVectors, k: int, seed: int, path: Path) -> Clusters:
    """Fit k clusters and save them as the next version of those in the file, or as the first.

    The vectors are kept beside the file, for the next fit to know who its members were.
    """
    centroids = fit_kmeans(vectors.vectors, k, _FINAL_STARTS, seed).cluster_centers_.astype(np.float32)
    beside = path.with_suffix(".users.npz")
    if path.exists():
        made = next_version(Clusters.load(path), centroids, vectors, load_user_vectors(beside))
    else:
        made = first_version(centroids, vectors)
    vectors.save(beside)
    made.save(path)
    return made


def _numbers(grid: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in grid.split(","))
    except ValueError as error:
        raise TrainerError(f"--grid {grid} is no list of whole numbers; write it like {_GRID}") from error


def _table(candidates: list[Candidate], chosen: Candidate) -> Table:
    table = Table("k", "silhouette", "stability", "worst pair", "smallest", "")
    for one in candidates:
        table.add_row(
            str(one.k),
            f"{one.silhouette:.3f}",
            f"{one.stability:.3f}",
            f"{one.worst_pair:.3f}",
            f"{one.smallest_ratio:.1%}",
            "chosen" if one is chosen else "",
        )
    return table
