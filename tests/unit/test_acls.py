"""The rights that are asked for: those of every topic of the service, and no more."""

from pathlib import Path

from stream.acls import AclRule, acl_script, worker_rules
from stream.topic_specs import service_topics

SCRIPT = Path(__file__).parents[2] / "deploy" / "kafka" / "acls.sh"


def test_every_topic_of_the_service_and_its_group_have_one_rule() -> None:
    rules = worker_rules("shop")

    topics = [spec.name for spec in service_topics("shop", 4, virtual_time=False)]
    assert sorted(rule.name for rule in rules if rule.resource == "topic") == sorted(topics)
    assert [rule for rule in rules if rule.resource == "group"] == [AclRule("group", "shop", ("Read",))]


def test_the_transactional_ids_of_this_deployment_are_its_own() -> None:
    without = worker_rules("shop", fencing=False)
    assert not [rule for rule in without if rule.resource == "transactional-id"]
    (rule,) = [rule for rule in worker_rules("shop") if rule.resource == "transactional-id"]

    assert rule == AclRule("transactional-id", "shop-", ("Write",), is_prefix=True)
    assert (
        acl_script((rule,), "User:w")
        .splitlines()[-1]
        .endswith("--operation Write --transactional-id shop- --resource-pattern-type prefixed")
    )


def test_what_is_only_written_can_not_be_read_and_campaigns_can_not_be_written() -> None:
    operations = {rule.name: rule.operations for rule in worker_rules("shop")}

    assert operations["behaviour.dead-letter"] == ("Write", "DescribeConfigs")
    assert operations["interest.updates"] == ("Write", "DescribeConfigs")
    assert operations["ads.decisions"] == ("Write", "DescribeConfigs")
    assert operations["ads.campaigns"] == ("Read", "DescribeConfigs")


def test_the_script_gives_each_right_with_kafkas_own_tool() -> None:
    last = acl_script((AclRule("topic", "catalog.texts", ("Read", "Write")),), "User:w").splitlines()[-1]

    assert last == (
        'kafka-acls.sh "$@" --add --allow-principal "User:w" --operation Read --operation Write --topic catalog.texts'
    )


def test_the_script_in_deploy_is_that_of_the_defaults() -> None:
    assert SCRIPT.read_text() == acl_script(worker_rules("interestflow"), "User:interestflow")
