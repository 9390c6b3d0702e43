"""JSON on its way into jsonb."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.contracts.base import Actor, ActorKind
from brainops.database.values import to_json

Json = str | int | bool | list["Json"] | dict[str, "Json"] | None

_TEXT = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("\x00\\u0"))
_LEAVES: st.SearchStrategy[Json] = _TEXT | st.integers() | st.booleans() | st.none()


def _lists_and_objects(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.lists(inner) | st.dictionaries(_TEXT, inner)


@given(st.recursive(_LEAVES, _lists_and_objects, max_leaves=20))
def test_only_nul_is_changed(value: Json) -> None:
    assert json.loads(to_json(value)) == _without_nul(value)


def _without_nul(value: Json) -> Json:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {name.replace("\x00", "\ufffd"): _without_nul(item) for name, item in value.items()}
    return value


def test_models_inside_are_written_as_pydantic_writes_them() -> None:
    actor = Actor(kind=ActorKind.PERSON, name="mi\x00ra")
    assert json.loads(to_json([actor])) == [{"kind": "person", "name": "mi\ufffdra"}]
    assert json.loads(to_json(actor)) == {"kind": "person", "name": "mi\ufffdra"}


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="object cannot be kept"):
        to_json(object())
