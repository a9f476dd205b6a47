"""The accounts of a run, read back from the broker after its workers are done."""

from collections.abc import Callable

from benchmarks.chaos.accounts import Accounts, letter, settle
from stream.events import BEHAVIOUR_TOPICS, DEAD_LETTER_TOPIC, UPDATES_TOPIC
from stream.state import decode_state
from stream.topic_specs import USER_BEHAVIOUR, changelog_topic
from stream.window import WindowPolicy
from tests.behaviour_feed import PARTITIONS
from tests.reference_fold import Place, ReferenceFold
from tests.worker_process import latest_by_key, read_topic


def everybody(_user: bytes) -> bool:
    """Nobody is forgotten in this run."""
    return True


async def settle_log(
    bootstrap_servers: str, app_id: str, policy: WindowPolicy, counted: Callable[[bytes], bool] = everybody
) -> tuple[Accounts, set[Place]]:
    """The accounts of all that stands in the input log, and the places of it.

    Args:
        bootstrap_servers: Of the broker.
        app_id: Of the workers.
        policy: Of the workers.
        counted: Users that must be there in the end.
    """
    reference = ReferenceFold(policy)
    in_log = set()
    for topic in BEHAVIOUR_TOPICS:
        for record in await read_topic(bootstrap_servers, topic, PARTITIONS):
            place = (topic, record.partition, record.offset)
            reference.fold(place, record.timestamp, record.key, record.value)
            in_log.add(place)
    changelog = changelog_topic(app_id, USER_BEHAVIOUR)
    changes = latest_by_key(await read_topic(bootstrap_servers, changelog, PARTITIONS))
    letters = [
        letter((record.key, record.value), record.headers)
        for record in await read_topic(bootstrap_servers, DEAD_LETTER_TOPIC, PARTITIONS)
    ]
    updates = [
        record.value
        for record in await read_topic(bootstrap_servers, UPDATES_TOPIC, PARTITIONS)
        if record.value
    ]
    states = {key: decode_state(value) for key, value in changes.items() if counted(key)}
    for users in (reference.states, reference.accepted):
        for key in [key for key in users if not counted(key)]:
            del users[key]
    return settle(reference, states, letters, updates), in_log
