"""The AsyncAPI document is valid, complete, and says what the code says.

``contract/asyncapi-3.0.0.schema.json.gz`` is the AsyncAPI Initiative's JSON Schema of AsyncAPI 3.0.0 (Apache-2.0, from
its package ``@asyncapi/specs`` 6.11.1), without its examples.
"""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator
from referencing import Registry, Resource

from consumer import dead_letter
from consumer.answers import EMOTION_EVENT_TYPE, TRACK_EMOTION_TYPE, track_emotion_headers
from consumer.corrections import Correction
from consumer.dead_letter import ADDED_HEADERS, Headers, build_dead_letter
from consumer.errors import Reason
from consumer.events import TrackEmotion
from consumer.forwarding import forwarded_headers
from consumer.schemas import EVENTS, file_name, load_schema
from consumer.topics import TOPICS

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
PUBLISHED = Path(__file__).parent / "contract" / "v1"
SPECIFICATION = Path(__file__).parent / "contract" / "asyncapi-3.0.0.schema.json.gz"
DIRECTIONS = {"in": {"receive"}, "out": {"send"}, "internal": {"send", "receive"}}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text("utf-8"))
    return loaded


def specification() -> Draft7Validator:
    return Draft7Validator(json.loads(gzip.decompress(SPECIFICATION.read_bytes())))


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(document: dict[str, Any], reference: str) -> Any:
    if not reference.startswith("#"):
        return json.loads((DOCUMENT.parent / reference).read_text("utf-8"))
    node: Any = document
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """Validate against a schema whose local references point into the document."""
    registry = Registry().with_resource("urn:document", Resource.opaque(document))
    absolute = json.loads(json.dumps(schema).replace('"#/components', '"urn:document#/components'))
    return Draft202012Validator(absolute, registry=registry)


def test_document_is_valid_asyncapi(document: dict[str, Any]) -> None:
    assert [error.message for error in specification().iter_errors(document)] == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("asyncapi",), "9.0.0"),
        (("operations", "sendEmotionEvent", "action"), "shout"),
        (("channels", "x"), {"address": 1}),
    ],
)
def test_specification_refuses_what_is_no_asyncapi(
    document: dict[str, Any], place: tuple[str, ...], value: object
) -> None:
    broken = json.loads(json.dumps(document))
    node = broken
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    assert not specification().is_valid(broken)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = list(references(document))
    assert found
    for reference in found:
        assert resolve(document, reference)


def test_channels_are_the_topics_with_their_cleanup_and_direction(document: dict[str, Any]) -> None:
    assert [channel["address"] for channel in document["channels"].values()] == [topic.name for topic in TOPICS]
    for topic in TOPICS:
        assert f"Cleanup policy {topic.cleanup}." in document["channels"][topic.name]["description"]
        actions = {
            operation["action"]
            for operation in document["operations"].values()
            if operation["channel"]["$ref"] == f"#/channels/{topic.name}"
        }
        # The table of known tracks is sent, and read back.
        assert actions == (DIRECTIONS[topic.direction] | ({"receive"} if topic.name == "track-emotions" else set()))


def test_payloads_are_the_shipped_schemas(document: dict[str, Any]) -> None:
    shipped = {f"../consumer/schemas/{file_name(event)}": event.__name__ for event in EVENTS}
    for topic in TOPICS:
        (message,) = document["channels"][topic.name]["messages"].values()
        payload = resolve(document, message["$ref"])["payload"]
        assert topic.value == (shipped[payload["$ref"]] if "$ref" in payload else "bytes")


def test_examples_are_what_they_are_examples_of(document: dict[str, Any]) -> None:
    seen = 0
    for message in document["components"]["messages"].values():
        for example in message.get("examples", []):
            payload = message["payload"]
            schema = resolve(document, payload["$ref"]) if "$ref" in payload else {}
            Draft202012Validator(schema).validate(example["payload"])
            if "headers" in message:
                validator(document, resolve(document, message["headers"]["$ref"])).validate(example["headers"])
            seen += 1
    assert seen >= 5


def test_dead_letter_headers_are_those_the_code_writes(document: dict[str, Any]) -> None:

    described = document["components"]["schemas"]["DeadLetterHeaders"]
    source = document["components"]["schemas"]["SourceHeaders"]
    assert {*described["required"], *source["required"]} == set(ADDED_HEADERS)
    assert described["properties"][dead_letter.REASON]["enum"] == [str(reason) for reason in Reason]
    assert described["properties"][dead_letter.MESSAGE]["maxLength"] == dead_letter.MAX_MESSAGE_CHARACTERS
    written = build_dead_letter(
        topic="track-events",
        partition=0,
        offset=0,
        key=None,
        value=None,
        headers=None,
        reason=Reason.SILENT,
        message="x" * 1000,
        attempts=1,
        first_seen=datetime.now(UTC),
    )
    headers = text(written.headers)
    validator(document, described).validate(headers)
    assert not validator(document, described).is_valid(headers | {dead_letter.REASON: "bad mood"})
    assert not validator(document, described).is_valid(headers | {dead_letter.SOURCE_OFFSET: "x"})


def test_cloud_event_and_forwarding_headers_are_those_the_code_writes(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    example = PUBLISHED / "track-emotion.examples.json"
    record = msgspec.convert(json.loads(example.read_text())[0], TrackEmotion)
    written = track_emotion_headers(record)
    validator(document, schemas["CloudEventHeaders"]).validate(text(written))
    assert {name for name, _ in written} == set(schemas["CloudEventHeaders"]["required"])
    types = [EMOTION_EVENT_TYPE.decode(), TRACK_EMOTION_TYPE.decode()]
    assert schemas["CloudEventHeaders"]["properties"]["ce_type"]["enum"] == types
    correction = Correction("sad", "curator-7", datetime.now(UTC))
    for refresh, said in ((False, None), (True, None), (False, correction)):
        forwarded = text(forwarded_headers([], "track-events", 3, 42, refresh=refresh, correction=said))
        validator(document, schemas["SourceHeaders"]).validate(forwarded)
        assert set(forwarded) <= set(schemas["SourceHeaders"]["properties"])


def text(headers: Headers) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in headers}


def test_shipped_schemas_have_distinct_identities() -> None:
    assert len({load_schema(event)["$id"] for event in EVENTS}) == len(EVENTS)
