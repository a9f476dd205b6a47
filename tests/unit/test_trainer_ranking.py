import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.pooling import Asked, auc_interval, measure, ndcg_interval
from trainer.ranking import Question, _drawn_auc, auc, calibration_error, rank


def question(bought: list[list[int]], candidates: list[list[int]] | None = None) -> Question:
    flags = np.array(bought, dtype=np.bool_)
    asked = np.ones_like(flags) if candidates is None else np.array(candidates, dtype=np.bool_)
    return Question(flags, asked, np.ones(len(flags), dtype=np.bool_))


def test_a_hit_at_the_second_of_three_places_is_worth_its_discount() -> None:
    scores = np.array([[0.9, 0.8, 0.7]], dtype=np.float32)

    found = rank(scores, question([[0, 1, 0]]))

    assert found.ndcg[0] == pytest.approx(0.6309, abs=1e-4)  # 1 / log2(3)
    assert found.recall[0] == 1.0


def test_only_candidates_are_ranked_and_count_as_bought() -> None:
    scores = np.array([[0.9, 0.8, 0.7]], dtype=np.float32)

    found = rank(scores, question([[1, 1, 0]], candidates=[[0, 1, 1]]))

    assert found.ndcg[0] == 1.0


def test_households_that_are_inactive_or_bought_no_candidate_are_not_ranked() -> None:
    asked = question([[1, 0], [0, 0], [0, 1]])._replace(active=np.array([False, True, True]))

    found = rank(np.zeros((3, 2), dtype=np.float32), asked)

    assert found.rows.tolist() == [2]


def test_equal_scores_count_half_a_pair() -> None:
    assert auc(np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, False, True, True])) == pytest.approx(0.875)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40).filter(
        lambda rows: len({outcome for _, outcome in rows}) == 2
    )
)
def test_the_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    true = [score for score, outcome in rows if outcome]
    false = [score for score, outcome in rows if not outcome]
    won = sum((t > f) + 0.5 * (t == f) for t in true for f in false)

    found = auc(np.array([score for score, _ in rows]), np.array([outcome for _, outcome in rows]))

    assert found == pytest.approx(won / (len(true) * len(false)))


def test_a_draw_of_every_household_once_has_the_plain_auc() -> None:
    scores = np.array([0.3, 0.1, 0.8, 0.6], dtype=np.float32)
    bought = np.array([True, False, True, False])

    drawn = _drawn_auc(scores, bought, np.ones((1, 4), dtype=np.int64))

    assert drawn[0] == pytest.approx(auc(scores, bought))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 3)), min_size=2, max_size=20).filter(
        lambda rows: len({outcome for _, outcome, times in rows if times}) == 2
    )
)
def test_a_drawn_auc_is_that_of_the_repeated_rows(rows: list[tuple[int, bool, int]]) -> None:
    scores, bought, times = (np.array(column) for column in zip(*rows, strict=True))

    drawn = _drawn_auc(scores.astype(np.float32), bought, times[None, :])

    assert drawn[0] == pytest.approx(auc(np.repeat(scores, times), np.repeat(bought, times)))


def test_a_household_drawn_twice_counts_as_two() -> None:
    scores = np.array([0.3, 0.1, 0.8], dtype=np.float32)
    bought = np.array([True, False, False])

    drawn = _drawn_auc(scores, bought, np.array([[1, 2, 1]]))

    assert drawn[0] == pytest.approx(2 / 3)


def test_a_model_compared_with_itself_has_an_interval_of_nothing() -> None:
    draw = np.random.default_rng(0)
    scores = draw.random((60, 3)).astype(np.float32)
    asked = question((draw.random((60, 3)) < 0.4).astype(int).tolist())

    cutoffs = [Asked(np.arange(60), asked)] * 2

    assert auc_interval([scores] * 2, [scores] * 2, cutoffs, draws=20) == [0.0, 0.0]
    assert ndcg_interval([scores] * 2, [scores] * 2, cutoffs) == [0.0, 0.0]


def test_the_same_cutoff_six_times_tells_no_more_than_once() -> None:
    draw = np.random.default_rng(2)
    ours, theirs = draw.random((2, 60, 12)).astype(np.float32)
    cutoff = Asked(np.arange(60), question((draw.random((60, 12)) < 0.4).astype(int).tolist()))

    once = ndcg_interval([ours], [theirs], [cutoff])
    often = ndcg_interval([ours] * 6, [theirs] * 6, [cutoff] * 6)

    assert often == pytest.approx(once)


def test_figures_are_pooled_over_the_ranked_rows_and_macro_auc_over_cutoffs() -> None:
    draw = np.random.default_rng(3)
    scores = [draw.random((40, 12)).astype(np.float32), draw.random((60, 12)).astype(np.float32)]
    cutoffs = [
        Asked(np.arange(len(s)), question((draw.random(s.shape) < 0.5).astype(int).tolist())) for s in scores
    ]

    alone = [measure([c], [s], probabilities=False) for c, s in zip(cutoffs, scores, strict=True)]
    pooled = measure(cutoffs, scores, probabilities=False)

    assert pooled["ndcg10"] == pytest.approx(
        0.4 * (alone[0]["ndcg10"] or 0) + 0.6 * (alone[1]["ndcg10"] or 0)
    )
    assert pooled["macro_auc"] == pytest.approx(sum(a["macro_auc"] or 0 for a in alone) / 2)


def test_calibration_error_is_the_mean_gap_of_the_bins() -> None:
    said = np.array([0.2, 0.2, 0.6, 0.6])
    happened = np.array([False, False, True, True])

    assert calibration_error(said, happened, bins=2) == pytest.approx(0.3)


def test_scores_that_are_no_probabilities_have_no_calibration_error() -> None:
    draw = np.random.default_rng(1)
    asked = question((draw.random((40, 12)) < 0.5).astype(int).tolist())

    found = measure(
        [Asked(np.arange(40), asked)], [draw.random((40, 12)).astype(np.float32)], probabilities=False
    )

    assert found["ece"] is None


def test_what_too_few_households_can_not_tell_is_no_number() -> None:
    nobody = [Asked(np.arange(2), question([[0, 0], [0, 0]]))]
    scores = [np.zeros((2, 2), dtype=np.float32)]

    found = measure(nobody, scores, probabilities=False)

    assert [found[name] for name in ("ndcg10", "recall10", "macro_auc", "micro_auc")] == [
        pytest.approx(np.nan, nan_ok=True)
    ] * 4
    for interval in (ndcg_interval, auc_interval):
        assert interval(scores, scores, nobody) == pytest.approx([np.nan, np.nan], nan_ok=True)
