"""Interest clusters over made users: groups around corners of a space, so that what is right is known."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from trainer.errors import TrainerError  # noqa: E402
from trainer.unsupervised.cluster_choice import Candidate, ClusterRecipe, choose, try_each  # noqa: E402
from trainer.unsupervised.cluster_cli import fit_version  # noqa: E402
from trainer.unsupervised.cluster_report import report_markdown, top_by_lift, without_sensitive  # noqa: E402
from trainer.unsupervised.clusters import Clusters, first_version, match_clusters, next_version  # noqa: E402
from trainer.unsupervised.user_vectors import UserVectors, load_user_vectors  # noqa: E402

pytestmark = pytest.mark.trainer
DAY = date(2017, 10, 1)


def shoppers(*sizes: int, first_user: int = 0, seed: int = 0, dimensions: int = 6) -> UserVectors:
    """So many users around each corner of the space, in turn."""
    draw = np.random.default_rng(seed)
    corners = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.eye(dimensions)[corners] + draw.normal(scale=0.05, size=(sum(sizes), dimensions))
    users = np.array([f"user-{number}" for number in range(first_user, first_user + sum(sizes))])
    return UserVectors(users, vectors.astype(np.float32), "made", DAY)


def corners(*which: int, dimensions: int = 6) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.eye(dimensions, dtype=np.float32)[list(which)]


def candidate(k: int, silhouette: float, stability: float) -> Candidate:
    return Candidate(k, silhouette, stability, stability, 0.1)


def test_the_number_of_groups_that_are_there_is_chosen() -> None:
    recipe = ClusterRecipe(grid=(2, 3, 4, 5, 6), bootstraps=3, starts=2)

    candidates = try_each(shoppers(60, 50, 40, 30).vectors, recipe)

    assert choose(candidates, recipe.least_stability).k == 4
    assert candidates[2].stability == 1.0
    assert candidates[2].smallest_ratio == pytest.approx(30 / 180)


def test_the_same_recipe_finds_the_same_figures() -> None:
    recipe = ClusterRecipe(grid=(3, 5), bootstraps=2, starts=1)
    vectors = shoppers(40, 40, 40).vectors

    assert try_each(vectors, recipe) == try_each(vectors, recipe)


def test_a_better_silhouette_does_not_outweigh_a_split_that_never_comes_again() -> None:
    given = [candidate(3, 0.2, 0.9), candidate(4, 0.3, 0.7), candidate(5, 0.9, 0.1)]

    assert choose(given, least_stability=0.6).k == 4


def test_the_most_stable_number_is_taken_where_none_is_stable() -> None:
    assert choose([candidate(3, 0.1, 0.5), candidate(4, 0.9, 0.3)], least_stability=0.6).k == 3


def test_more_clusters_than_users_are_refused_with_what_to_give() -> None:
    with pytest.raises(TrainerError, match="9 clusters of 4 users can't be judged; give numbers from 2 to 3"):
        try_each(shoppers(2, 2).vectors, ClusterRecipe(grid=(2, 9)))


def test_the_first_ids_go_by_size() -> None:
    made = first_version(corners(0, 1, 2), shoppers(20, 60, 40))

    assert made.ids == [1, 2, 3]
    assert made.centroids.argmax(axis=1).tolist() == [1, 2, 0]


def test_a_cluster_keeps_its_id_when_k_means_numbers_it_anew() -> None:
    users = shoppers(60, 50, 40)
    first = first_version(corners(0, 1, 2), users)

    second = next_version(first, corners(2, 0, 1), shoppers(60, 50, 40, seed=1), users)

    assert second.assign(corners(0, 1, 2)).tolist() == first.assign(corners(0, 1, 2)).tolist() == [1, 2, 3]
    assert second.history[-1]["continued"] == {"1": 1.0, "2": 1.0, "3": 1.0}


def test_ids_go_on_by_members_when_the_vector_space_was_turned() -> None:
    users = shoppers(60, 50, 40)
    first = first_version(corners(0, 1, 2), users)
    turned = UserVectors(users.users, np.roll(users.vectors, 3, axis=1), "retrained", DAY)

    second = next_version(first, corners(3, 4, 5), turned, users)

    assert second.assign(corners(3, 4, 5)).tolist() == [1, 2, 3]
    assert second.history[-1]["by"] == "members"


def test_a_new_cluster_gets_a_fresh_id_and_a_lost_one_never_comes_back() -> None:
    old, new = shoppers(60, 50, 40), shoppers(60, 50, 0, 40)
    first = first_version(corners(0, 1, 2), old)
    elsewhere = UserVectors(new.users, new.vectors, "made", DAY)

    # Those around corner 2 went away, others than they came to corner 3.
    others = elsewhere._replace(
        users=np.array([*elsewhere.users[:110], *(f"other-{user}" for user in elsewhere.users[110:])])
    )
    second = next_version(first, corners(0, 1, 3), others, old)
    third = next_version(second, corners(0, 1, 2), old, others)

    assert second.ids == [1, 2, 4]
    assert second.retired == {3: 2}
    assert third.ids == [1, 2, 5]
    assert third.retired == {3: 2, 4: 3}
    assert [entry["new"] for entry in third.history] == [[1, 2, 3], [4], [5]]


def test_two_halves_of_a_cluster_share_no_id() -> None:
    users = shoppers(80, 80)
    first = first_version(corners(0, 1), users)
    split = users.vectors.copy()
    split[:40] = corners(2)
    halves = UserVectors(users.users, split, "made", DAY)

    second = next_version(first, corners(0, 1, 2), halves, users)

    assert second.ids == [1, 2, 3]
    assert sorted(second.history[-1]["continued"].values()) == [0.5, 1.0]


def test_strangers_are_matched_by_centroids() -> None:
    users = shoppers(60, 50)
    first = first_version(corners(0, 1), users)

    match = match_clusters(first, corners(1, 5), shoppers(30, 30, first_user=5000), users)

    assert match.by == "centroids"
    assert match.ids == [2, None]


def test_strangers_in_another_space_are_refused() -> None:
    users = shoppers(60, 50)
    first = first_version(corners(0, 1), users)
    strangers = shoppers(60, 50, first_user=5000, dimensions=4)

    with pytest.raises(TrainerError, match="no id can go on; fit into a new file"):
        next_version(first, corners(0, 1, dimensions=4), strangers, users)


def test_a_second_fit_into_the_same_file_is_its_next_version(tmp_path: Path) -> None:
    path = tmp_path / "clusters.json"
    first = fit_version(shoppers(60, 50, 40), 3, seed=0, path=path)
    fit_version(shoppers(60, 50, 40, seed=1), 3, seed=7, path=path)

    read = Clusters.load(path)

    assert read.version == 2
    assert read.ids == first.ids
    assert read.assign(first.centroids).tolist() == first.ids
    assert read.next_id == 4


def test_vectors_of_other_dimensions_are_not_assigned() -> None:
    made = first_version(corners(0, 1), shoppers(9, 9))

    with pytest.raises(TrainerError, match="the vectors have 4 dimensions, version 1 of the clusters 6"):
        made.assign(corners(0, dimensions=4))


@pytest.mark.parametrize(
    ("text", "complaint"), [("{}", "holds no clusters"), ('{"format": 9}', "another format")]
)
def test_a_file_that_is_no_clusters_says_so(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "clusters.json"
    path.write_text(text)

    with pytest.raises(TrainerError, match=complaint):
        Clusters.load(path)


def test_user_vectors_come_back_from_their_file(tmp_path: Path) -> None:
    users = shoppers(3, 2)
    users.save(tmp_path / "users.npz")

    read = load_user_vectors(tmp_path / "users.npz")

    assert read.users.tolist() == [f"user-{number}" for number in range(5)]
    assert np.array_equal(read.vectors, users.vectors)
    assert (read.source, read.day) == ("made", DAY)


def test_a_user_with_two_vectors_is_refused(tmp_path: Path) -> None:
    users = shoppers(3, 2)
    users._replace(users=np.array(["0", "1", "2", "3", "3"])).save(tmp_path / "users.npz")

    with pytest.raises(TrainerError, match="has 5 users, 4 of them different"):
        load_user_vectors(tmp_path / "users.npz")


def test_a_missing_file_says_which_command_makes_it(tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match="run `interestflow-trainer user-vectors --out"):
        load_user_vectors(tmp_path / "users.npz")


def test_lift_names_what_members_buy_more_often_than_everybody() -> None:
    bought = np.zeros((200, 3), dtype=np.bool_)
    bought[:50, 0] = True  # all members, nobody else
    bought[:, 1] = True  # everybody
    bought[:9, 2] = True  # too few buyers to say anything
    members = np.arange(200) < 50

    found = top_by_lift(bought, members, ["tea", "milk", "caviar"])

    # Of 70 members, 20 of them added at everybody's quarter, 55 bought it: .786 over .25.
    assert found == [{"name": "tea", "lift": 3.14, "share": 1.0}]


def test_a_sensitive_name_is_no_part_of_a_report() -> None:
    bought = np.ones((3, 2), dtype=np.bool_)

    shown = without_sensitive(bought, ["adult incontinence", "milk"])

    assert shown.tolist() == [[False, True]] * 3


def test_the_report_has_one_line_for_each_cluster() -> None:
    one = {"size": 50, "share": 0.5, "purchase_rate_28d": 0.9, "baskets_per_member_28d": 7.25}
    tea = [{"name": "tea | green", "lift": 3.14, "share": 1.0}]
    lines = [
        {"id": 1, **one, "interests": tea, "products": [], "nearest": {"id": 4, "cosine": 0.5}},
        {"id": 4, **one, "interests": [], "products": [], "nearest": {"id": 1, "cosine": 0.5}},
    ]
    report = {"version": 2, "users": 100, "day": "2017-10-01", "source": "made", "clusters": lines}

    told = report_markdown({**report, "purchase_rate_28d": 0.8})

    assert "| 1 | 50 (50%) | 90% | 7.2 | tea / green 3.1 | like everybody | 4 (0.50) |" in told
    assert told.count("\n") == 7
