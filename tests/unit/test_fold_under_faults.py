"""FOLD with crashes, repeats and rebalances between its steps leaves what one pure fold leaves; G2's short form."""

import pytest
from hypothesis import settings

from tests.fold_machine import FoldMachine, walk

TestFoldUnderFaults = FoldMachine.TestCase
TestFoldUnderFaults.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_between_its_steps_the_states_are_those_of_one_pure_fold(seed: int) -> None:
    walk(seed)
