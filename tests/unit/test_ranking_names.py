"""A name is called or it is not: as written, inflected, misspelt by a letter, together or apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.memory.ranking.names import Text, bases

ORDINARY = frozenset({"pumps", "value", "cooler", "dispatches"})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Is PostGIS up?", "postgis"),
        ("the café menu", "cafe"),
        ("tell me about heat exchangers", "heat_exchanger"),
        ("who was dispatching today", "dispatch"),
        ("we retried it twice", "retry"),
        ("cached pages", "caching"),
        ("exchanger of heat", "heat exchanger"),  # either order, stop words between
        ("point of sale", "point of sale"),
        ("the postgiss extension", "PostGIS"),  # a letter more
        ("the posgis extension", "PostGIS"),  # a letter less
        ("the potsgis extension", "PostGIS"),  # two exchanged
        ("a heatexchanger", "heat exchanger"),
        ("the data base", "database"),
        ("left-pad is gone", "left pad"),
        ("vue.js or not", "Vue.js"),
        ("how about r2?", "R2"),
    ],
)
def test_called(text: str, name: str) -> None:
    assert Text(text, ORDINARY.__contains__).calls(name) is not None


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "pump"),
        ("heat from the exchanger room", "heat exchanger room service"),  # a word is missing
        ("heat loss at the exchanger", "heat exchanger"),  # not together
        ("the exceptional case, except this", "exceptions"),  # another word of the same stem
        ("an expressive face", "express"),
        ("r3 is full", "r2"),  # short names are not corrected
        ("pastgis", "postgis"),  # the first two letters are fixed
        ("the value is 3", "valve"),  # a word, and no misspelling
        ("a database", "data"),
        ("of the and", "of"),
        ("anything", "???"),
        ("anything", ""),
    ],
)
def test_not_called(text: str, name: str) -> None:
    assert Text(text, ORDINARY.__contains__).calls(name) is None


def test_more_and_closer_words_are_stronger() -> None:
    text = Text("the heat exchanger and the valves of postgiss")
    strengths = [text.best([name]) for name in ("heat exchanger", "exchanger", "valve", "postgis")]
    assert [call.strength for call in strengths if call] == sorted(
        (call.strength for call in strengths if call), reverse=True
    )
    best = text.best(["valve", "heat exchanger", "absent"])
    assert best is not None
    assert best.name == "heat exchanger"


@given(st.text(st.characters(exclude_categories=()), max_size=60), st.text(max_size=30))
def test_any_text_and_any_name_will_do(text: str, name: str) -> None:
    Text(text).calls(name)


@given(st.text("abcdefghij", min_size=3, max_size=12))
def test_a_word_is_a_form_of_its_plural(word: str) -> None:
    assert bases(word) & bases(word + "s") or word.endswith(("s", "i", "u"))
