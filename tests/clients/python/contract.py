"""The contract, `deploy/asyncapi.yaml`, and the comparison of workers' messages with it.

Clients ignore unknown fields. Here such a field is a problem, because the contract must describe
every field that workers send.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

import pika
import yaml
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from processes import ROOT

DOCUMENT = yaml.safe_load((ROOT / "deploy" / "asyncapi.yaml").read_text())
MESSAGES: dict[str, dict[str, Any]] = DOCUMENT["components"]["messages"]
SCHEMAS: dict[str, dict[str, Any]] = DOCUMENT["components"]["schemas"]

# The messages that workers send, by channel and `type`.
SPOKEN = {
    channel: {
        MESSAGES[name]["bindings"]["amqp"]["messageType"]: name
        for name in DOCUMENT["channels"][channel]["messages"]
    }
    for channel in ("replies", "lifecycle", "rejected")
}

# How many examples were sent, and how many messages of workers were found to keep to the contract.
sent: Counter[str] = Counter()
kept: Counter[str] = Counter()
# Their problems.
broken: list[str] = []


def examples(message: str) -> dict[str, dict[str, Any]]:
    """The examples of a message, by their names."""
    return {example["name"]: example for example in MESSAGES[message]["examples"]}


def replies_of(kind: str) -> set[str]:
    """The types of the replies that a message of this kind may get."""
    replies = DOCUMENT["operations"][kind]["reply"]["messages"]
    return {reply["$ref"].rpartition("/")[2] for reply in replies}


def problems(message: str, part: str, value: Any) -> list[str]:
    """Problems of the `payload` or the `headers` of a message."""
    errors = _validator(message, part).iter_errors(value)
    return [f"{error.json_path}: {error.message}" for error in errors]


def problems_as_sent(channel: str, properties: pika.BasicProperties, body: bytes) -> list[str]:
    """Problems of a message as a worker has sent it."""
    try:
        payload = json.loads(body, object_pairs_hook=_object)
    except ValueError as error:
        return [f"no JSON: {error}"]
    kind = payload.get("type") if isinstance(payload, dict) else None
    if not isinstance(kind, str) or kind not in SPOKEN[channel]:
        return [f"{kind} is no type of {channel}"]
    name = SPOKEN[channel][kind]
    headers = properties.headers or {}
    own = {key: value for key, value in vars(properties).items() if value is not None}
    own.pop("headers", None)
    found = problems(name, "payload", payload) + problems(name, "headers", own | headers)
    if kind == "error":
        problem = payload.get("error", {})
        if ("retry_after_ms" in problem) != problem.get("retryable"):
            found.append("retry_after_ms is there, or not, contrary to retryable")
    if own.get("type") != kind:
        found.append("the property type is not the body's")
    for place, names in (("header", headers), ("property", own)):
        known = _resolved(MESSAGES[name]["headers"])["properties"]
        found += [
            f"{key} comes as a {place}"
            for key in names
            if key in known and _resolved(known[key])["x-amqp"] != place
        ]
    return found


def check(channel: str, properties: pika.BasicProperties, body: bytes) -> None:
    """Counts a worker's message, or remembers what is wrong with it."""
    found = problems_as_sent(channel, properties, body)
    if found:
        broken.append(f"{channel}: {'; '.join(found)}\nin {body!r}, {properties}")
    else:
        kept[f"{channel}.{json.loads(body)['type']}"] += 1


@cache
def _validator(message: str, part: str) -> Draft7Validator:
    schema = {"$ref": DOCUMENT["id"] + MESSAGES[message][part]["$ref"]}
    formats = Draft7Validator.FORMAT_CHECKER
    return Draft7Validator(schema, registry=_REGISTRY, format_checker=formats)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object none of whose names comes twice."""
    names = Counter(name for name, _ in pairs)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"{twice} come more than once")
    return dict(pairs)


def _closed(schema: Any) -> Any:
    """The same schema, in which an object has no field but those that are named."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # A condition looks at some of the fields only.
    conditions = ("if", "then", "else")
    closed = {
        key: value if key in conditions else _closed(value) for key, value in schema.items()
    }
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that is referenced, with the keys beside the reference."""
    if "$ref" not in schema:
        return schema
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    return SCHEMAS[schema["$ref"].rpartition("/")[2]] | beside


_REGISTRY = Registry().with_resource(
    DOCUMENT["id"], DRAFT7.create_resource({"components": {"schemas": _closed(SCHEMAS)}})
)
