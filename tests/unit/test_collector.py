import gc
from collections.abc import Iterator

import pytest

from stream.collector import YOUNG_OBJECTS, settle_collector


@pytest.fixture(autouse=True)
def _collector_as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


def test_what_is_loaded_is_not_looked_at_again() -> None:
    gc.unfreeze()

    settle_collector()

    assert gc.get_freeze_count() > 1_000


def test_young_objects_are_looked_at_less_often_and_the_rest_in_the_same_steps() -> None:
    gc.set_threshold(700, 10, 10)

    settle_collector()

    assert gc.get_threshold() == (YOUNG_OBJECTS, 10, 10)
