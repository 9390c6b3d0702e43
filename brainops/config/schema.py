"""JSON schema of `brainops.yaml`, for editors and for naming the keys that a place in the file knows."""

from datetime import timedelta
from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from brainops.config.models import BrainOpsConfig
from brainops.config.quantities import format_duration

Schema = dict[str, Any]
"""A JSON schema. Any: its values are JSON of every shape."""


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: object) -> object:
        """Write a default as a person would, so that it is valid in the schema itself."""
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return super().encode_default(dft)


@cache
def _generated() -> Schema:
    return BrainOpsConfig.model_json_schema(schema_generator=_Generator)


def json_schema() -> Schema:
    """The schema, draft 2020-12, with the meaning of each key from our docstrings."""
    named = {"$schema": _Generator.schema_dialect, "title": "brainops.yaml"}
    return {**_generated(), **named}


def resolved(node: Schema) -> Schema:
    """`node`, or what its `$ref` leads to; of an optional value, the part that is not null."""
    while True:
        if "$ref" in node:
            node = _generated()["$defs"][node["$ref"].rsplit("/", 1)[-1]]
            continue
        choices = [choice for choice in node.get("anyOf", ()) if choice.get("type") != "null"]
        if len(choices) != 1:
            return node
        node = choices[0]


def entry(node: Schema, key: str | int) -> Schema | None:
    """The schema of the entry `key` of a value of `node`; None if `node` has no such entry."""
    if isinstance(key, int):
        return node.get("items")
    properties = node.get("properties", {})
    if key in properties:
        return properties[key]
    patterns = node.get("patternProperties")
    if patterns:
        return next(iter(patterns.values()))
    return node.get("additionalProperties") or None


def known_keys(node: Schema) -> tuple[str, ...]:
    """The keys that a mapping of `node` may have, in the order of the model; empty if people name them."""
    return tuple(node.get("properties", {}))
