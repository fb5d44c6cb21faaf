"""The schemas and the classes say the same, and version 1 stays what was published."""

import copy
import functools
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator, FormatChecker

from consumer.schemas import EVENTS, build_schema, file_name, load_schema

PUBLISHED = Path(__file__).parent / "contract" / "v1"
Event = type[msgspec.Struct]

formats = FormatChecker(formats=())


@formats.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    # The pattern has checked the spelling; this checks the calendar.
    return not isinstance(value, str) or datetime.fromisoformat(value.upper().replace("Z", "+00:00")) is not None


def examples(event: Event) -> list[dict[str, Any]]:
    path = PUBLISHED / file_name(event).replace(".v1.json", ".examples.json")
    loaded: list[dict[str, Any]] = json.loads(path.read_text())
    return loaded


@functools.cache
def validator(event: Event) -> Draft202012Validator:
    return Draft202012Validator(load_schema(event), format_checker=formats)


@functools.cache
def decoder(event: Event) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(event)


def schema_accepts(event: Event, value: object) -> bool:
    return validator(event).is_valid(value)


def class_accepts(event: Event, value: object) -> bool:
    try:
        decoder(event).decode(json.dumps(value))
    except (msgspec.DecodeError, ValueError):
        return False
    return True


@pytest.mark.parametrize("event", EVENTS)
def test_schema_file_is_what_the_class_says(event: Event) -> None:
    Draft202012Validator.check_schema(load_schema(event))
    assert load_schema(event) == build_schema(event), "run python -m consumer.schemas"


@pytest.mark.parametrize("event", EVENTS)
def test_published_examples_are_accepted_by_both(event: Event) -> None:
    assert examples(event)
    for example in examples(event):
        assert schema_accepts(event, example)
        assert class_accepts(event, example)


@pytest.mark.parametrize("event", EVENTS)
def test_what_the_class_writes_the_schema_accepts_with_its_version(event: Event) -> None:
    for example in examples(event):
        written = json.loads(msgspec.json.encode(msgspec.convert(example, event)))
        assert schema_accepts(event, written)
        assert written["schema_version"] == 1


# --- the same verdict ----------------------------------------------------------------------------------------------

TIMES = (
    *("2026-01-01T12:00:00Z", "2026-01-01T12:00:00", "2026-02-30T12:00:00Z", "2026-13-01T00:00:00Z", "today"),
    *("2026-01-01 12:00:00.5+02:00", "2026-01-01T12:00Z", "2026-01-01T24:00:00Z", "2026-01-01T12:00:00+0100"),
    *("20260101T120000Z", "2026-01-01T12:00:60Z", "2026-01-01T12:00:00+24:00", "2026-01-01t12:00:00z"),
    *("2026-01-01T12:00:00.123456789Z", "2026-01-01T12:00:00,5Z", "2026-01-01"),
)
WORDS = ("", "relax", "sad", "joy", "track_played", "TRACK_PLAYED", "accepted", "apply", "a" * 64, "A" * 64, "a" * 65)
LENGTHS = ("é" * 256, "😀" * 256, "x" * 257, "x" * 2048, "x" * 2049)
NUMBERS = (0, -1, 1, 2, 1.0001, -1.0001, -1e-300, 0.5, 1e300, 2**63, 10**30)
PROBES: tuple[Any, ...] = (None, True, False, [], {}, ["relax"], [1], {"relax": 1}, *TIMES, *WORDS, *LENGTHS, *NUMBERS)
VALUES = st.recursive(
    st.sampled_from(PROBES) | st.floats(-2, 2) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["relax", "x"]), inner, max_size=2),
    max_leaves=4,
)


def paths(value: object, prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [prefix, *(path for key, item in items for path in paths(item, (*prefix, key)))]


@st.composite
def nearly_valid(draw: st.DrawFn, event: Event) -> object:
    """Take a published example and change up to two places in it."""
    value: Any = copy.deepcopy(draw(st.sampled_from(examples(event))))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(paths(value)))
        if not path:
            value = draw(VALUES) if draw(st.integers(0, 9)) == 0 else value
            continue
        parent = value
        for step in path[:-1]:
            parent = parent[step]
        if draw(st.integers(0, 3)) == 0:
            del parent[path[-1]]
        else:
            parent[path[-1]] = draw(VALUES)
    return value


def replaced(value: Any, path: tuple[str | int, ...], put: Any) -> Any:
    changed = copy.deepcopy(value)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = put
    return changed


def same_verdict(event: Event, value: object) -> None:
    # JSON Schema cannot tell 1.0 from 1; a producer that writes 1.0 there is told so by the worker alone.
    if isinstance(value, dict) and isinstance(value.get("schema_version"), float):
        return
    # A message without a version is read (records of before), never written: only there the schema is stricter.
    if isinstance(value, dict) and "schema_version" not in value:
        value = {**value, "schema_version": 1}
    assert schema_accepts(event, value) == class_accepts(event, value), value


@pytest.mark.parametrize("event", EVENTS)
def test_schema_and_class_give_the_same_verdict_on_every_probe_in_every_place(event: Event) -> None:
    for example in examples(event):
        for path in paths(example)[1:]:
            for probe in PROBES:
                same_verdict(event, replaced(example, path, probe))


@pytest.mark.parametrize("event", EVENTS)
def test_schema_and_class_give_the_same_verdict_on_random_changes(event: Event) -> None:
    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(value=nearly_valid(event))
    def check(value: object) -> None:
        same_verdict(event, value)

    check()


def test_track_event_without_version_is_refused_by_both() -> None:
    track_event = EVENTS[0]
    value = {name: field for name, field in examples(track_event)[0].items() if name != "schema_version"}
    assert not schema_accepts(track_event, value)
    assert not class_accepts(track_event, value)


# --- version 1 is a promise ----------------------------------------------------------------------------------------


def differences(published: dict[str, Any], current: dict[str, Any], place: str = "$") -> list[str]:
    """List what breaks readers or writers of the published schema: anything but a new optional field."""
    found = []
    for keyword in {*published, *current} - {"description", "title", "$id", "properties", "$defs"}:
        if published.get(keyword) != current.get(keyword):
            found.append(f"{place}: {keyword} was {published.get(keyword)}, is {current.get(keyword)}")
    for name, field in published.get("properties", {}).items():
        if name not in current.get("properties", {}):
            found.append(f"{place}.{name}: is gone")
        else:
            found += differences(field, current["properties"][name], f"{place}.{name}")
    for name, definition in published.get("$defs", {}).items():
        found += differences(definition, current.get("$defs", {}).get(name, {}), f"{place}/{name}")
    return found


@pytest.mark.parametrize("event", EVENTS)
def test_version_1_has_only_gained_optional_fields(event: Event) -> None:
    published = json.loads((PUBLISHED / file_name(event)).read_text())
    assert differences(published, load_schema(event)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda schema: schema["properties"].pop("track_id"), "track_id: is gone"),
        (lambda schema: schema["required"].append("new"), "required"),
        (lambda schema: schema["properties"]["track_id"].update(maxLength=10), "maxLength"),
        (lambda schema: schema["properties"]["event_type"]["enum"].append("track_liked"), "enum"),
        (lambda schema: schema.update(additionalProperties=False), "additionalProperties"),
    ],
)
def test_differences_notices_every_breaking_change(change: Any, expected: str) -> None:
    published = load_schema(EVENTS[0])
    current = copy.deepcopy(published)
    change(current)
    assert expected in "".join(differences(published, current))


def test_differences_allows_a_new_optional_field_and_new_words() -> None:
    published = load_schema(EVENTS[0])
    current = copy.deepcopy(published)
    current["properties"]["tempo"] = {"type": "number"}
    current["properties"]["track_id"]["description"] = "Said better."
    assert differences(published, current) == []


@pytest.mark.parametrize("event", EVENTS)
def test_a_reader_ignores_fields_of_tomorrow_everywhere(event: Event) -> None:
    for example in examples(event):
        for path in paths(example):
            later: Any = copy.deepcopy(example)
            node = later
            for step in path:
                node = node[step]
            if isinstance(node, dict):
                node["a_field_of_tomorrow"] = [1]
                assert msgspec.convert(later, event) == msgspec.convert(example, event)
                assert schema_accepts(event, later)
