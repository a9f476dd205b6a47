"""Merges with crashes, repeats and broken sends between all steps leave what one fold of all events leaves."""

import pytest

from tests.merge_walk import Walk


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happens_on_the_way_of_a_merge_every_event_counts_once(seed: int) -> None:
    Walk(seed).run(steps=60)
