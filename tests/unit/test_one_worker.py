"""The embedded broker is for one worker: the second is refused, the first goes on."""

import pytest

from stream.embedded.one_worker import OneWorker, SecondWorkerError


@pytest.mark.parametrize("given", [{0, 1}, set()])
def test_who_is_not_given_all_partitions_is_second_and_refused(given: set[int]) -> None:
    with pytest.raises(SecondWorkerError) as caught:
        OneWorker(4).given(given)

    assert str(caught.value) == (
        f"this worker was given {len(given)} of 4 partitions, so another one works on the embedded broker "
        "(INTERESTFLOW_KAFKA__BROKER=tansu), which is for one worker only: stop one of them, or use Apache Kafka"
    )


def test_who_had_all_of_them_waits_for_the_second_to_go() -> None:
    worker = OneWorker(4)

    worker.given({0, 1, 2, 3})
    worker.given({0, 1})
    worker.given({0, 1, 2, 3})
