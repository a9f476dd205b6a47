"""What to do about a dead letter: one sentence of cure for each reason."""

from collections.abc import Mapping
from typing import Final

_TIME: Final = "Send occurred_at_ms as UTC epoch milliseconds in a JSON integer"
_UTF8: Final = "Let the producer encode the value as UTF-8"

#: Letters of other releases can carry reasons that this one does not give; their cures stand here, too.
CURES: Final[Mapping[str, str]] = {
    "empty": "Let the producer send one JSON object; a user is erased by a null value on users.control, not by an empty one.",
    "json": "Let the producer send exactly one JSON object, uncompressed and without a byte order mark.",
    "magic": "Turn the producer's own compression of values off; use the Kafka client's compression.type instead.",
    "utf8": f"{_UTF8}, uncompressed.",
    "unicode": f"{_UTF8} and replace lone surrogates, as JavaScript's toWellFormed() does.",
    "too_large": "Split the event into several with fewer items; its bytes were cut here, so only its producer can send it anew.",
    "output_too_large": "Pause campaigns until a decision can list them all, or raise max.message.bytes of the output topic.",
    "depth": "Flatten the value: an event is two levels deep, with items or ad as the second.",
    "number": "Send numbers that fit into 64 bits.",
    "nonfinite": "Send null or leave the field out where there is no number: NaN and Infinity are not JSON.",
    "root": "Send a JSON object, one event in each record; arrays of events must be sent one by one.",
    "missing": "Let the producer fill the field that the message names.",
    "type": "Send the field that the message names in the type that docs/contracts/behaviour-event.schema.json says.",
    "range": "Correct the value that the message names to one within its bounds.",
    "field_long": "Shorten the field that the message names; an id is at most 256 characters, a name 512.",
    "too_wide": "Split the event: at most 200 items.",
    "event_type": "Use one of the event types of the contract; if the type is new, upgrade the workers, then replay.",
    "version": "Upgrade the workers to a release that reads this schema_version, then replay; or send the older version.",
    "user_id": "Send the resolved user id; events of nobody must not be sent.",
    "key_mismatch": "Let the producer use the payload's user_id in UTF-8 as the record's key.",
    "wrong_partition": "Set INTERESTFLOW_KAFKA__PARTITIONER to what the producers use (crc32 for librdkafka), then replay.",
    "pii_in_id": "Send a pseudonym instead of an e-mail address or phone number; the letter was redacted and can't be replayed.",
    "control": "Remove NUL and control characters at the producer.",
    "unicode_id": "Send ids without invisible or look-alike characters.",
    "ref": "Publish the campaign on ads.campaigns, then replay; or correct its id at the producer.",
    "enum": "Send one of the values that the message names.",
    "ts_naive": f"{_TIME}: a text without a zone could be any of 24 hours.",
    "ts_unit": f"{_TIME}, not seconds, micro- or nanoseconds.",
    "ts_future": f"{_TIME} and set the producer's clock by NTP; a replay works as soon as that time has come.",
    "ts_invalid": f"{_TIME}, after the year 2000; for the record's own timestamp set message.timestamp.type=LogAppendTime.",
    "ts_parse": f"{_TIME} instead of a text.",
    "id_conflict": "Give each event an id of its own; the first body of this id is in the state, a replay changes nothing.",
    "control_action": "Send an action that the contract of users.control knows; if it is new, upgrade the workers, then replay.",
    "merge_self": "Send two ids that differ: user_id is the known user, anonymous_id the visitor before the login.",
    "merge_loop": "Merge in one direction only, visitors into known users; to part ids again, erase one of them.",
}


def cure(reason: str) -> str:
    """What to do about letters of a reason, also of one that nobody knows."""
    return CURES.get(
        reason, "This release does not know the reason: read the message, and the headers of who wrote it."
    )
