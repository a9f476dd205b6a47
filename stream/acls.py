"""The least rights that a worker needs on its Kafka, as a list and as the commands that give them."""

from typing import Final, Literal, NamedTuple

from stream.events import (
    CAMPAIGNS_TOPIC,
    DEAD_LETTER_TOPIC,
    DECISIONS_TOPIC,
    OWNED_TOPICS,
    ROLLOUT_TOPIC,
    TEXTS_TOPIC,
    UPDATES_TOPIC,
)
from stream.fences import transactional_id_prefix
from stream.topic_specs import TABLES, changelog_topic

Operation = Literal["Read", "Write", "DescribeConfigs"]
#: Read and Write bring Describe with them. The configuration is read to check clocks and clean-up policies.
_READ: Final[tuple[Operation, ...]] = ("Read", "DescribeConfigs")
_WRITE: Final[tuple[Operation, ...]] = ("Write", "DescribeConfigs")
_BOTH: Final[tuple[Operation, ...]] = ("Read", "Write", "DescribeConfigs")


class AclRule(NamedTuple):
    """What may be done with one topic or consumer group, or with all transactional ids that begin so."""

    resource: Literal["topic", "group", "transactional-id"]
    name: str
    operations: tuple[Operation, ...]
    is_prefix: bool = False


def worker_rules(app_id: str, *, fencing: bool = True) -> tuple[AclRule, ...]:
    """All of a worker's rights, and no others: none to create, alter or delete anything."""
    ids = AclRule("transactional-id", transactional_id_prefix(app_id), ("Write",), is_prefix=True)
    return (
        # Written as well: a record on another partition than its key's is produced once more to the right one.
        *(AclRule("topic", topic, _BOTH) for topic in OWNED_TOPICS),
        AclRule("topic", DEAD_LETTER_TOPIC, _WRITE),
        *(AclRule("topic", changelog_topic(app_id, table), _BOTH) for table in TABLES),
        AclRule("topic", UPDATES_TOPIC, _WRITE),
        AclRule("topic", DECISIONS_TOPIC, _WRITE),
        AclRule("topic", CAMPAIGNS_TOPIC, _READ),
        AclRule("topic", TEXTS_TOPIC, _BOTH),
        # Written when a worker takes a challenger back that left its bounds.
        AclRule("topic", ROLLOUT_TOPIC, _BOTH),
        AclRule("group", app_id, ("Read",)),
        *((ids,) if fencing else ()),
    )


def acl_script(rules: tuple[AclRule, ...], principal: str) -> str:
    """A shell script that gives these rights; its arguments go to Kafka's own tool."""
    lines = [
        "#!/bin/sh",
        "# The least rights of a worker. Written by `interestflow topics acls`; pass the cluster and an administrator's login:",
        "#     sh acls.sh --bootstrap-server kafka-1:9093 --command-config admin.properties",
        "set -eu",
    ]
    for rule in rules:
        operations = " ".join(f"--operation {operation}" for operation in rule.operations)
        kind = " --resource-pattern-type prefixed" if rule.is_prefix else ""
        lines.append(
            f'kafka-acls.sh "$@" --add --allow-principal "{principal}" {operations} --{rule.resource} {rule.name}{kind}'
        )
    return "\n".join(lines) + "\n"
