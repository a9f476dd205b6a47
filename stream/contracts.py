"""The contracts of all topics as files: a JSON Schema per message, and one AsyncAPI 3 document.

The pydantic models are the source. What they can't say (keys, headers, tombstones) stands here, beside the topics.
"""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from stream.ads.campaign import Campaign
from stream.ads.decision import AdDecision
from stream.decode import MAX_VALUE_BYTES
from stream.dlq.contract import (
    CUT_HEADERS,
    DEAD_LETTER_HEADERS,
    INPUT_HEADERS,
    MARKER,
    REDACTED_HEADERS,
    REPLAYED_HEADERS,
    marker_message,
)
from stream.events import (
    AD_TOPIC,
    BROWSE_TOPIC,
    CAMPAIGNS_TOPIC,
    CLICK_TOPIC,
    CONTROL_TOPIC,
    DEAD_LETTER_TOPIC,
    DECISIONS_TOPIC,
    HANDOVER_TOPIC,
    OWNED_TOPICS,
    PURCHASE_TOPIC,
    ROLLOUT_TOPIC,
    SCHEMA_MAJOR,
    TEXTS_TOPIC,
    UPDATES_TOPIC,
    BehaviourEvent,
    ControlEvent,
    Reason,
)
from stream.handover import HandOver
from stream.interest_update import InterestUpdate
from stream.received import SENT_HEADER
from stream.reproducing import HOP_HEADER, MERGE_HOPS_HEADER
from stream.rollout import Rollout
from stream.topic_specs import service_topics

Schema = dict[str, Any]

ASYNCAPI_FILE: Final = "asyncapi.json"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
#: Of the contracts, not of the program: the major is that of ``schema_version``.
_CONTRACT_VERSION: Final = f"{SCHEMA_MAJOR}.0.0"


class Contract(NamedTuple):
    """One kind of message."""

    name: str
    """As in the file's name."""
    model: type[BaseModel]
    is_input: bool
    """We read it and ignore what we don't know; else we write it, always with every field."""

    @property
    def file(self) -> str:
        """The name of its JSON Schema."""
        return f"{self.name}.schema.json"


BEHAVIOUR: Final = Contract("behaviour-event", BehaviourEvent, is_input=True)
CONTROL: Final = Contract("control-event", ControlEvent, is_input=True)
CAMPAIGN: Final = Contract("campaign", Campaign, is_input=True)
UPDATE: Final = Contract("interest-update", InterestUpdate, is_input=False)
DECISION: Final = Contract("ad-decision", AdDecision, is_input=False)
ROLLOUT: Final = Contract("model-rollout", Rollout, is_input=True)
HANDOVER: Final = Contract("hand-over", HandOver, is_input=True)
CONTRACTS: Final = (BEHAVIOUR, CONTROL, HANDOVER, CAMPAIGN, UPDATE, DECISION, ROLLOUT)


class _Channel(NamedTuple):
    topic: str
    message: str
    about: str


_USER_KEY: Final = "The user id in UTF-8, the same as in the value; the partitioner is murmur2 (Java, aiokafka) unless set otherwise."
_ROLLOUT_KEY: Final = "The app id; with /rolled-back behind it for what a worker took back."
_CAMPAIGN_KEY: Final = "The cid in UTF-8, the same as in the value."
_KEYS: Final = {CAMPAIGN.name: _CAMPAIGN_KEY, ROLLOUT.name: _ROLLOUT_KEY}
_DEAD_LETTER: Final = "dead-letter"
_TEXT: Final = "text"
_MEANT_FOR: Final = "Meant for {}; any event type is read here."
_CHANNELS: Final = (
    _Channel(CLICK_TOPIC, BEHAVIOUR.name, _MEANT_FOR.format("click")),
    _Channel(
        BROWSE_TOPIC,
        BEHAVIOUR.name,
        _MEANT_FOR.format(
            "view_item, view_item_list, search, add_to_wishlist, add_to_cart, remove_from_cart, rating and review"
        ),
    ),
    _Channel(
        PURCHASE_TOPIC,
        BEHAVIOUR.name,
        _MEANT_FOR.format("purchase and refund") + " Its users are scored before others.",
    ),
    _Channel(AD_TOPIC, BEHAVIOUR.name, _MEANT_FOR.format("ad_impression, ad_click and ad_dismiss")),
    _Channel(CONTROL_TOPIC, CONTROL.name, "A null value erases the user of the key."),
    _Channel(
        HANDOVER_TOPIC,
        HANDOVER.name,
        "Between workers only, as a changelog is: what one id of a person hands over to another.",
    ),
    _Channel(
        DEAD_LETTER_TOPIC,
        _DEAD_LETTER,
        "Rejected records of the six topics above: raw bytes unchanged, and headers that say why; and outputs too large "
        "to be sent, at offset -1. Of a key or value "
        f"of more than {MAX_VALUE_BYTES} bytes only the start is kept; of a record whose id names a person neither.",
    ),
    _Channel(
        UPDATES_TOPIC,
        UPDATE.name,
        "A user's interests after a change. A null value says: forget this user; revisions start anew should the user come "
        "back. At least once: a repeat has the same update_id.",
    ),
    _Channel(
        DECISIONS_TOPIC,
        DECISION.name,
        "Beside each interest update while there are campaigns. At least once: a repeat has the same decision_id.",
    ),
    _Channel(
        CAMPAIGNS_TOPIC, CAMPAIGN.name, "A null value removes the campaign. Every worker reads all of them."
    ),
    _Channel(
        ROLLOUT_TOPIC,
        ROLLOUT.name,
        "Which model version scores whom; written by `interestflow model`, and by a worker that takes a challenger back. "
        "Every worker reads all of them.",
    ),
    _Channel(
        TEXTS_TOPIC,
        _TEXT,
        "Texts that behaviours refer to by hash, each written by whichever worker meets it first.",
    ),
)
_WRITTEN: Final = frozenset({HANDOVER_TOPIC, DEAD_LETTER_TOPIC, UPDATES_TOPIC, DECISIONS_TOPIC, TEXTS_TOPIC})
_READ: Final = frozenset({*OWNED_TOPICS, CAMPAIGNS_TOPIC, ROLLOUT_TOPIC, TEXTS_TOPIC})


def json_schema(contract: Contract) -> Schema:
    """The JSON Schema (2020-12) of a message's value.

    An input may hold more than it says: unknown fields are dropped and counted. An output has every field in each
    message, and later minor versions may add some.
    """
    schema = contract.model.model_json_schema(mode="validation" if contract.is_input else "serialization")
    for part in (schema, *schema.get("$defs", {}).values()):
        _trim(part, is_input=contract.is_input)
    return {"$schema": _DIALECT, "$id": f"urn:interestflow:{contract.name}:{SCHEMA_MAJOR}", **schema}


def asyncapi_document() -> Schema:
    """The AsyncAPI 3.0 document: topics as channels, contracts as messages, from the worker's point of view."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "interestflow",
            "version": _CONTRACT_VERSION,
            "description": "Shop behaviour events in; interest updates and explained ad decisions out. `receive` is "
            "what a worker reads, `send` what it writes. Partition counts are the default; the topics keyed by user "
            "must have the same.",
        },
        "defaultContentType": "application/json",
        "channels": {channel.topic: _channel(channel) for channel in _CHANNELS},
        "operations": {
            f"{action}-{topic}": {"action": action, "channel": {"$ref": f"#/channels/{topic}"}}
            for action, topics in (("receive", _READ), ("send", _WRITTEN))
            for topic in sorted(topics)
        },
        "components": {
            "messages": {
                **{contract.name: _message(contract) for contract in CONTRACTS},
                _DEAD_LETTER: _dead_letter_message(),
                MARKER: marker_message(),
                _TEXT: _text_message(),
            }
        },
    }


def write_contracts(directory: Path) -> list[Path]:
    """Write all files into a directory, which is made if need be, and give their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {contract.file: json_schema(contract) for contract in CONTRACTS}
    files[ASYNCAPI_FILE] = asyncapi_document()
    for name, document in files.items():
        (directory / name).write_text(render(document), encoding="utf-8")
    return [directory / name for name in files]


def render(document: Schema) -> str:
    """A document as the text of its file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _trim(schema: Schema, *, is_input: bool) -> None:
    """Take out what binds too much or says nothing: made-up titles, and for outputs what forbids new fields."""
    for field in schema.get("properties", {}).values():
        field.pop("title", None)
        if not is_input:
            field.pop("default", None)
    if not is_input and "properties" in schema:
        schema.pop(
            "additionalProperties", None
        )  # we write none, but a reader must not break on one of the future
        schema["required"] = list(schema["properties"])


def _channel(channel: _Channel) -> Schema:
    specs = {spec.name: spec for spec in service_topics("interestflow", 4, virtual_time=False)}
    spec = specs[channel.topic]
    return {
        "address": channel.topic,
        "description": channel.about,
        "messages": {
            message: {"$ref": f"#/components/messages/{message}"}
            for message in (channel.message, *([MARKER] if channel.message == _DEAD_LETTER else []))
        },
        "bindings": {
            "kafka": {
                "topic": channel.topic,
                "partitions": spec.partitions,
                "topicConfiguration": {"cleanup.policy": ["compact" if spec.compacted else "delete"]},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message(contract: Contract) -> Schema:
    document = contract.model.__doc__ or ""
    message: Schema = {
        "name": contract.name,
        "summary": document.split("\n", maxsplit=1)[0],
        "payload": {"$ref": f"./{contract.file}"},
        "bindings": _key_binding(_KEYS.get(contract.name, _USER_KEY)),
    }
    if contract in (BEHAVIOUR, CONTROL, HANDOVER):
        message["headers"] = _headers(
            {
                HOP_HEADER: "Set by a worker that produced the record once more, to its right partition.",
                MERGE_HOPS_HEADER: "Set by a worker that passed the record of a merged id on: how often, decimal.",
                SENT_HEADER: "Replays only: wall clock at sending, UTC ms, decimal; freshness is measured from it.",
                **INPUT_HEADERS,
            }
        )
    return message


def _dead_letter_message() -> Schema:
    headers = _headers(DEAD_LETTER_HEADERS | CUT_HEADERS | REDACTED_HEADERS | REPLAYED_HEADERS)
    headers["required"] = list(DEAD_LETTER_HEADERS)
    headers["properties"]["interestflow.reason"]["enum"] = [str(reason) for reason in Reason]
    return {
        "name": _DEAD_LETTER,
        "summary": "The raw bytes of a rejected record, and why it is here (header names of KIP-1034).",
        "contentType": "application/octet-stream",
        "headers": headers,
        "payload": {},
        "bindings": _key_binding("That of the rejected record."),
    }


def _text_message() -> Schema:
    return {
        "name": _TEXT,
        "summary": "What the encoder reads of an item or a search.",
        "contentType": "text/plain",
        "payload": {"type": "string"},
        "bindings": _key_binding("The text's hash, BLAKE2b with 64 bits, in 16 hexadecimal digits."),
    }


def _headers(meanings: dict[str, str]) -> Schema:
    """Header values are bytes; all of ours are UTF-8."""
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in meanings.items()},
    }


def _key_binding(about: str) -> Schema:
    return {"kafka": {"key": {"type": "string", "description": about}, "bindingVersion": "0.5.0"}}
