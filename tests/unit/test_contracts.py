"""The contracts in git: they are what the models say, samples of messages fit them, and no change breaks their users."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from typer.testing import CliRunner

from stream.ads.campaign import parse_campaign
from stream.ads.decision import AdDecision
from stream.cli import app
from stream.contracts import (
    CONTRACTS,
    Contract,
    asyncapi_document,
    json_schema,
    render,
)
from stream.dead_letter import ATTEMPT_HEADER, LETTER_HEADER, MARKER_HEADER, dead_letter
from stream.decode import MAX_VALUE_BYTES, decode_control, decode_event
from stream.dlq.contract import CUT_HEADERS, DEAD_LETTER_HEADERS
from stream.errors import RejectionError
from stream.events import OWNED_TOPICS, Change, Reason
from stream.interest_update import InterestUpdate
from stream.topic_specs import service_topics
from tests.builders import Record
from tests.schema_rules import Schema, input_breaks, output_breaks

DIRECTORY = Path(__file__).parents[2] / "docs" / "contracts"
BY_NAME = {contract.name: contract for contract in CONTRACTS}
each_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=[contract.name for contract in CONTRACTS])


def example(name: str) -> dict[str, Any]:
    document = json.loads((DIRECTORY / "examples" / f"{name}.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def released(contract: Contract) -> Schema:
    document = json.loads((DIRECTORY / "released" / contract.file).read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


# -- files and models --------------------------------------------------------------------------------------------


def test_the_files_in_git_are_what_the_command_writes(tmp_path: Path) -> None:
    written = tmp_path / "new" / "directory"

    assert CliRunner().invoke(app, ["contracts", "--out", str(written)]).exit_code == 0

    assert {path.name: path.read_text(encoding="utf-8") for path in written.iterdir()} == {
        path.name: path.read_text(encoding="utf-8") for path in DIRECTORY.glob("*.json")
    }, "run `interestflow contracts --out docs/contracts`"


@each_contract
def test_an_example_of_each_message_fits_its_schema(contract: Contract) -> None:
    schema = json_schema(contract)
    Draft202012Validator.check_schema(schema)

    Draft202012Validator(schema).validate(example(contract.name))


@pytest.mark.parametrize("field", ["user_id", "event_type"])
def test_a_schema_refuses_what_the_worker_refuses(field: str) -> None:
    event = example("behaviour-event")
    del event[field]

    assert not Draft202012Validator(json_schema(BY_NAME["behaviour-event"])).is_valid(event)


def test_the_worker_takes_the_examples_of_its_inputs_as_they_are() -> None:
    event, campaign, control = (example(name) for name in ("behaviour-event", "campaign", "control-event"))

    assert decode_event(orjson.dumps(event), event["occurred_at_ms"]).change == Change.NONE
    assert parse_campaign(campaign["cid"].encode(), orjson.dumps(campaign)) is not None
    assert decode_control(orjson.dumps(control)).user_id == control["user_id"]


@pytest.mark.parametrize(
    ("name", "model"), [("interest-update", InterestUpdate), ("ad-decision", AdDecision)]
)
def test_the_examples_of_the_outputs_are_what_the_worker_would_write(
    name: str, model: type[InterestUpdate | AdDecision]
) -> None:
    document = example(name)

    assert orjson.loads(model.model_validate(document).to_bytes()) == document


# -- AsyncAPI ----------------------------------------------------------------------------------------------------


def refs(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(document.get("$ref"), str):
            yield document["$ref"]
        for part in document.values():
            yield from refs(part)
    elif isinstance(document, list):
        for part in document:
            yield from refs(part)


def resolve(document: dict[str, Any], pointer: str) -> object:
    found: Any = document
    for part in pointer.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_the_asyncapi_document_is_one() -> None:
    schema = json.loads(Path(__file__).with_name("asyncapi-3.0.0.json").read_text(encoding="utf-8"))

    problems = [error.message for error in Draft7Validator(schema).iter_errors(asyncapi_document())]

    assert problems == []


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi_document()

    for ref in refs(document):
        assert resolve(document, ref) if ref.startswith("#/") else (DIRECTORY / ref).is_file()


def test_the_asyncapi_document_has_every_topic_of_the_service_that_others_may_use() -> None:
    topics = {spec.name for spec in service_topics("interestflow", 4, virtual_time=False)}
    document = asyncapi_document()

    assert document["channels"].keys() == {name for name in topics if not name.endswith("-changelog")}
    received = {name for name in document["operations"] if name.startswith("receive-")}
    assert {f"receive-{topic}" for topic in OWNED_TOPICS} < received


def test_a_dead_letter_has_the_headers_that_the_contract_names() -> None:
    error = RejectionError(Reason.TOO_LARGE, "too large")
    plain = dead_letter(Record(value=b"x"), error, "1.2.3")
    huge = b"x" * (MAX_VALUE_BYTES + 1)
    cut = dead_letter(Record(key=huge, value=huge), error, "1.2.3")

    assert [name for name, _ in plain.headers] == list(DEAD_LETTER_HEADERS)
    assert {name for name, _ in cut.headers} == DEAD_LETTER_HEADERS.keys() | CUT_HEADERS.keys()


def test_a_replayed_record_and_its_marker_have_the_headers_that_the_contract_names() -> None:
    messages = asyncapi_document()["components"]["messages"]

    for name in ("behaviour-event", "control-event"):
        assert {ATTEMPT_HEADER, LETTER_HEADER} < messages[name]["headers"]["properties"].keys()
    assert LETTER_HEADER in messages["dead-letter"]["headers"]["properties"]
    assert messages["dead-letter-replayed"]["headers"]["required"] == [MARKER_HEADER]


# -- changes -----------------------------------------------------------------------------------------------------


@each_contract
def test_no_contract_breaks_those_who_use_the_last_release(contract: Contract) -> None:
    breaks = input_breaks if contract.is_input else output_breaks

    assert breaks(released(contract), json_schema(contract)) == []


def without(schema: dict[str, Any], *path: str) -> None:
    del resolve(schema, "#/" + "/".join(path[:-1]))[path[-1]]  # type: ignore[attr-defined]


EVENT = BY_NAME["behaviour-event"]
UPDATE = BY_NAME["interest-update"]
BREAKS: list[tuple[str, Contract, Callable[[dict[str, Any]], object]]] = [
    (".source: required", EVENT, lambda s: s["required"].append("source")),
    (".items[].item_brand: gone", EVENT, lambda s: without(s, "$defs", "Item", "properties", "item_brand")),
    (".dwell_ms: gone", EVENT, lambda s: without(s, "properties", "dwell_ms")),
    (".user_id: maxLength", EVENT, lambda s: s["properties"]["user_id"].update(maxLength=10)),
    (".event_type: values ['refund']", EVENT, lambda s: s["properties"]["event_type"]["enum"].remove("refund")),
    (".source: string against integer", EVENT, lambda s: s["properties"]["source"].update(type="integer")),
    (".event_id: null against string", EVENT, lambda s: s["properties"]["event_id"]["anyOf"].pop()),
    (".segment: required", UPDATE, lambda s: s["required"].remove("segment")),
    (".source: values ['guess']", UPDATE, lambda s: s["properties"]["source"]["enum"].append("guess")),
    (".revision: number against integer", UPDATE, lambda s: s["properties"]["revision"].update(type="number")),
    (
        ".interests[].score: null against number",
        UPDATE,
        lambda s: s["$defs"]["InterestScore"]["properties"]["score"].update(
            anyOf=[{"type": "number"}, {"type": "null"}]
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("found", "contract", "change"), BREAKS, ids=[found for found, _, _ in BREAKS])
def test_a_change_that_breaks_somebody_is_found(
    found: str, contract: Contract, change: Callable[[dict[str, Any]], object]
) -> None:
    changed = copy.deepcopy(json_schema(contract))
    change(changed)

    breaks = input_breaks if contract.is_input else output_breaks
    assert breaks(json_schema(contract), changed) == [found]


@pytest.mark.parametrize(
    ("contract", "change"),
    [
        pytest.param(EVENT, lambda s: s["properties"].update(mood={"type": "string"}), id="a new field to read"),
        pytest.param(EVENT, lambda s: s["properties"]["user_id"].update(maxLength=999), id="a longer text to read"),
        pytest.param(EVENT, lambda s: s["properties"]["event_type"]["enum"].append("rent"), id="a new type to read"),
        pytest.param(UPDATE, lambda s: s["properties"].update(mood={"type": "string"}), id="a new field written"),
        pytest.param(UPDATE, lambda s: s["properties"]["source"]["enum"].remove("none"), id="a value less written"),
    ],
)  # fmt: skip
def test_a_change_that_nobody_need_notice_passes(
    contract: Contract, change: Callable[[dict[str, Any]], object]
) -> None:
    changed = copy.deepcopy(json_schema(contract))
    change(changed)

    breaks = input_breaks if contract.is_input else output_breaks
    assert breaks(json_schema(contract), changed) == []


def test_a_file_ends_with_one_newline() -> None:
    assert render({"ä": 1}) == '{\n  "ä": 1\n}\n'
