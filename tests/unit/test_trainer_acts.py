import pytest

torch = pytest.importorskip("torch", reason="needs the trainer extra (torch)")

from stream.features import HISTORY_FEATURES, NEVER_DAYS, USER_FEATURES  # noqa: E402
from stream.profile import HALF_LIVES_DAYS  # noqa: E402
from trainer.acts import ACTS, Act, RawInputs, acted  # noqa: E402

pytestmark = pytest.mark.trainer
SINCE = HISTORY_FEATURES.index("days_since_purchase")
PURCHASES = HISTORY_FEATURES.index("purchases")
NAMES = torch.eye(3, 384)


def stranger() -> RawInputs:
    """One user who bought none of three interests."""
    history = torch.zeros((1, 3, len(HISTORY_FEATURES)))
    history[..., SINCE] = NEVER_DAYS
    user = torch.zeros((1, len(USER_FEATURES)))
    user[:, USER_FEATURES.index("days_since_order")] = NEVER_DAYS
    return RawInputs(history, user, torch.zeros((1, 2, 384)))


def after(act: Act, age_days: float = 0.0) -> RawInputs:
    return acted(stranger(), torch.tensor([1]), act, torch.tensor([age_days]), NAMES)


def test_acts_are_told_from_the_weakest_to_the_strongest() -> None:
    weights = [act.weight for act in ACTS]

    assert weights == sorted(weights)
    assert [act.is_purchase for act in ACTS] == [False, False, False, False, True]


def test_a_click_leaves_its_weight_and_its_text_and_no_purchase() -> None:
    click = ACTS[1]

    found = after(click, age_days=7.0)

    half = found.history[0, 1, HALF_LIVES_DAYS.index(7)]
    assert float(half) == pytest.approx(click.weight / 2)
    assert found.history[0, 1, PURCHASES] == 0.0
    assert found.history[0, 1, SINCE] == NEVER_DAYS
    assert not found.history[0, [0, 2], : len(HALF_LIVES_DAYS)].any()
    assert (found.window @ NAMES.T)[0, :, 1].tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


def test_a_purchase_is_an_order_too() -> None:
    found = after(ACTS[-1], age_days=2.0)

    assert found.history[0, 1, PURCHASES] == 1.0
    assert found.history[0, 1, SINCE] == 2.0
    assert found.user[0, USER_FEATURES.index("days_since_order")] == 2.0
    assert found.user[0, USER_FEATURES.index("purchased_categories")] == 1.0


def test_no_act_changes_nothing_and_the_given_inputs_stay() -> None:
    given = stranger()
    acted(given, torch.tensor([1]), ACTS[-1], torch.zeros(1), NAMES)

    assert all(torch.equal(one, other) for one, other in zip(given, stranger(), strict=True))
    assert all(torch.equal(one, other) for one, other in zip(after(ACTS[0]), stranger(), strict=True))
