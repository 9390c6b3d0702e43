"""Text becomes terms and chunks: identifiers both ways, any string at all, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.memory.ranking import words

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text("aZ9_./ ?\0\ud800é-", max_size=300)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("What did we do about it?", []),  # stop words alone
        ("backups failed", ["backup", "fail"]),
        ("max_replica_lag", ["max_replica_lag", "max", "replica", "lag"]),  # kept, and split
        ("retryBudget", ["retrybudget", "retri", "budget"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("see OPS-417", ["see", "ops-417", "op", "417"]),
        ("src/pay/api.py", ["src/pay/api.py", "src", "pay", "api", "py"]),
        ("port 8443", ["port", "8443"]),
        ("the pump's seal", ["pump", "seal"]),  # a possessive
        ("Größe", ["größe"]),
        ("ﬁle", ["file"]),  # a ligature is its letters
        ("a\0b \ud800 c", ["b", "c"]),  # neither NUL nor a lone surrogate is a term
    ],
)
def test_terms(text: str, found: list[str]) -> None:
    assert words.terms(text) == found


def test_terms_are_counted() -> None:
    assert words.counted("pumps pump Pump valve") == {"pump": 3, "valv": 1}


@given(ANY_TEXT)
def test_any_text_has_terms_that_can_be_stored(text: str) -> None:
    for term in words.terms(text):
        assert 0 < len(term) <= words.MAX_TERM_LENGTH
        assert "\0" not in term
        term.encode("utf-8")


def test_terms_of_an_enormous_text_are_bounded() -> None:
    assert len(words.terms("alpha_beta " * 50_000)) == words.MAX_TERMS
    assert len(words.terms("x" * 1_000_000)) == 1


@given(st.text("ab .\n", max_size=40).map(lambda piece: piece * 300))
def test_chunks_cover_the_text_and_overlap(text: str) -> None:
    pieces = words.chunks(text)
    assert all(piece.text == text[piece.start : piece.end] for piece in pieces)
    assert all(len(piece.text) <= words.MAX_CHUNK for piece in pieces)
    covered = {place for piece in pieces for place in range(piece.start, piece.end)}
    assert all(not letter.strip() or place in covered for place, letter in enumerate(text))


def test_a_message_is_one_chunk_and_blank_text_none() -> None:
    assert [piece.text for piece in words.chunks("Pump 4 is back.")] == ["Pump 4 is back."]
    assert words.chunks(" \n\t ") == []
    assert len(words.chunks("word " * 2_000_000)) == words.MAX_CHUNKS


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Is it back?", True),
        ("Is it back? ", True),
        ("Look, is it back? [image: a pump]", True),
        ("It is back.", False),
        ("Is it back? I think so.", False),
        ("", False),
    ],
)
def test_a_question_is_told_by_its_end(text: str, asks: bool) -> None:
    assert words.asks(text) is asks
