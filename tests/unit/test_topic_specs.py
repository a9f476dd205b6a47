"""Which topics the service has, and how partition counts that don't fit are told."""

import pytest

from stream.errors import ConfigurationError, PartitionMismatchError
from stream.topic_limits import TopicLimits, bound, fits
from stream.topic_specs import TopicSpec, service_topics
from stream.topics import partition_problems


def by_name(specs: tuple[TopicSpec, ...]) -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in specs}


def test_the_service_has_these_topics_and_no_others() -> None:
    topics = by_name(service_topics("shop", 4, virtual_time=False))

    assert {
        name: (spec.partitions, spec.compacted, spec.co_partitioned) for name, spec in topics.items()
    } == {
        "behaviour.click": (4, False, True),
        "behaviour.browse": (4, False, True),
        "behaviour.purchase": (4, False, True),
        "behaviour.ad": (4, False, True),
        "users.control": (4, False, True),
        "users.handover": (4, False, True),
        "behaviour.dead-letter": (4, False, True),
        "shop-user-behaviour-changelog": (4, True, True),
        "shop-user-scores-changelog": (4, True, True),
        "interest.updates": (4, True, True),
        "ads.decisions": (4, False, True),
        "ads.campaigns": (1, True, False),
        "models.rollout": (1, True, False),
        "catalog.texts": (4, True, True),
    }


def test_in_production_the_brokers_clock_is_the_record_time_of_the_inputs() -> None:
    topics = by_name(service_topics("shop", 4, virtual_time=False))

    assert topics["users.control"].full_config() == {
        "cleanup.policy": "delete",
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "2592000000",
    }
    assert topics["shop-user-scores-changelog"].full_config() == {
        "cleanup.policy": "compact",
        "max.compaction.lag.ms": "604800000",
    }


def test_what_people_did_is_kept_as_long_as_the_limits_say() -> None:
    topics = by_name(service_topics("shop", 4, virtual_time=False, limits=TopicLimits(1000, 2000)))

    for name in (
        "behaviour.click",
        "users.control",
        "users.handover",
        "behaviour.dead-letter",
        "ads.decisions",
    ):
        assert topics[name].config["retention.ms"] == "1000"
    for name in ("shop-user-behaviour-changelog", "interest.updates", "catalog.texts"):
        assert topics[name].config["max.compaction.lag.ms"] == "2000"


def test_retention_can_be_left_to_the_broker() -> None:
    topics = by_name(service_topics("shop", 4, virtual_time=False, limits=TopicLimits(None)))

    assert "retention.ms" not in topics["ads.decisions"].config


@pytest.mark.parametrize(
    ("name", "found", "fitting"),
    [
        ("retention.ms", "1000", True),
        ("retention.ms", "999", True),
        ("retention.ms", "1001", False),
        ("retention.ms", "-1", False),
        ("max.compaction.lag.ms", "9223372036854775807", False),
        ("cleanup.policy", "999", False),
    ],
)
def test_a_shorter_time_than_the_longest_allowed_fits(name: str, found: str, *, fitting: bool) -> None:
    assert fits(name, found, "1000") is fitting


def test_a_replay_that_keeps_everything_must_find_just_that() -> None:
    assert fits("retention.ms", "-1", "-1")
    assert not fits("retention.ms", "1000", "-1")
    assert (bound("retention.ms", "-1"), bound("retention.ms", "5"), bound("x", "y")) == (
        "-1",
        "at most 5",
        "y",
    )


def test_in_a_replay_the_producers_time_counts_and_old_records_are_kept() -> None:
    topics = by_name(service_topics("shop", 4, virtual_time=True))

    assert topics["behaviour.purchase"].full_config() == {
        "cleanup.policy": "delete",
        "message.timestamp.type": "CreateTime",
        "retention.ms": "-1",
    }
    assert topics["ads.decisions"].full_config() == {"cleanup.policy": "delete", "retention.ms": "-1"}


def test_a_partition_mismatch_lists_every_co_partitioned_topic_with_its_count() -> None:
    specs = [TopicSpec("a", 4), TopicSpec("b", 4), TopicSpec("c", 4, co_partitioned=False)]

    (problem,) = partition_problems(specs, {"a": 4, "b": 8, "c": 1})

    assert isinstance(problem.error, PartitionMismatchError)
    assert problem.error.counts == {"a": 4, "b": 8}
    assert problem.message.startswith("partition counts differ: a has 4, b has 8; ")
    assert problem.topics == ("a", "b")


def test_topics_that_agree_on_another_count_than_the_settings_say_so() -> None:
    (problem,) = partition_problems([TopicSpec("a", 4), TopicSpec("b", 4)], {"a": 8, "b": 8})

    assert isinstance(problem.error, ConfigurationError)
    assert problem.message == (
        "a, b have 8 partitions each, but INTERESTFLOW_KAFKA__PARTITIONS is 4: set it to 8, or recreate these topics"
    )


def test_equal_counts_are_no_problem() -> None:
    assert partition_problems([TopicSpec("a", 4), TopicSpec("b", 4)], {"a": 4, "b": 4}) == []
