"""The index finds what a plain reading of the formula finds, whatever was added, changed and removed before."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import fmean, pstdev

import numpy as np
import pytest
from numpy.typing import NDArray

from brainops.errors import BadInputError
from brainops.memory.ranking import index as index_module
from brainops.memory.ranking import search as search_module
from brainops.memory.ranking import vectors as vectors_module
from brainops.memory.ranking.embedding import unit
from brainops.memory.ranking.fusion import Weights
from brainops.memory.ranking.index import TenantIndex
from brainops.memory.ranking.rows import Filters, IndexRow, prepared, rank_sessions

DIMENSIONS = 8
NOW = datetime(2026, 3, 2, tzinfo=UTC)
VOCABULARY = [f"term{number}" for number in range(12)]
ROUNDING = 0.05
"""Of scores: a byte a number moves a cosine by less than 0.01, which a small spread multiplies."""


def made_row(rng: random.Random, key: int) -> IndexRow:
    at = NOW.timestamp() - rng.randint(0, 90) * 86_400
    vector = np.array([rng.gauss(0, 1) for _ in range(DIMENSIONS)], dtype=np.float32)
    return IndexRow(
        key=key.to_bytes(4, "big"),
        source=None if rng.random() < 0.7 else b"shared%d" % rng.randint(0, 5),
        scope=rng.choice(["red", "blue"]),
        kind=rng.choice(["message", "knowledge"]),
        session=rng.choice([None, "s1", "s2", "s3"]),
        seq=rng.randint(0, 30),
        terms=Counter(rng.choices(VOCABULARY, k=rng.choice([1, 3, 5, 90]))),
        at=at,
        valid_to=None if rng.random() < 0.7 else at + rng.randint(1, 60) * 86_400,
        question=rng.random() < 0.3,
        importance=rng.random(),
        cost=None if rng.random() < 0.5 else rng.random(),
        attributes={"agent": rng.choice(["keeper", "monitor"])} if rng.random() < 0.5 else {},
        vector=None if rng.random() < 0.2 else unit(vector[np.newaxis])[0],
    )


def passes(row: IndexRow, filters: Filters) -> bool:
    moment = filters.valid_at.timestamp() if filters.valid_at else None
    return all(
        [
            filters.scopes is None or row.scope in filters.scopes,
            filters.kinds is None or row.kind in filters.kinds,
            filters.sessions is None or row.session in filters.sessions,
            filters.since is None or row.at >= filters.since.timestamp(),
            filters.until is None or row.at < filters.until.timestamp(),
            moment is None or (row.at <= moment and (row.valid_to is None or moment < row.valid_to)),
            filters.cost_at_most is None or (row.cost is not None and row.cost <= filters.cost_at_most),
            filters.importance_at_least is None or row.importance >= filters.importance_at_least,
            all(row.attributes.get(name) in wanted for name, wanted in filters.attributes.items()),
        ]
    )


def z(value: float, of: Iterable[float]) -> float:
    values = list(of)
    spread = pstdev(values) if values else 0.0
    return (value - fmean(values)) / spread if spread > 1e-6 else 0.0


def rarity(rows: int, having: int) -> float:
    return math.log(1 + (rows - having + 0.5) / (having + 0.5))


def plain_scores(
    rows: dict[bytes, IndexRow], terms: list[str], vector: NDArray[np.float32] | None, filters: Filters
) -> dict[bytes, float]:
    """The formula of `fusion`, read aloud."""
    weights, searched = Weights(), {key: row for key, row in rows.items() if passes(row, filters)}
    if not searched:
        return {}
    length = {key: sum(row.terms.values()) for key, row in searched.items()}

    def bm25(texts: dict[bytes, Counter[str]]) -> dict[bytes, float]:
        mean = max(fmean(sum(text.values()) for text in texts.values()), weights.pivot)
        having = {term: sum(term in text for text in texts.values()) for term in terms}
        return {
            key: sum(
                rarity(len(texts), having[term])
                * text[term]
                * (weights.k1 + 1)
                / (text[term] + weights.k1 * (1 - weights.b + weights.b * sum(text.values()) / mean))
                for term in set(terms)
            )
            for key, text in texts.items()
        }

    own = bm25({key: Counter(row.terms) for key, row in searched.items()})
    share = {key: min(1, weights.pivot / length[key]) for key in searched}
    gained = dict.fromkeys(searched, 0.0)
    sessions: dict[tuple[str, str], list[bytes]] = {}
    for key, row in rows.items():
        if row.session is not None:
            sessions.setdefault((row.scope, row.session), []).append(key)
    for members in sessions.values():
        order = sorted(members, key=lambda key: rows[key].seq)
        for place, key in enumerate(order):
            for step in (-2, -1, 1, 2):
                if key in searched and 0 <= place + step < len(order) and order[place + step] in searched:
                    other = order[place + step]
                    lent = own[other] * share[other]
                    gained[key] += weights.neighbour ** abs(step) * lent * share[key]
                    if step == -1 and rows[other].question:
                        gained[key] += weights.answer * lent * share[key]
    words = {
        key: own[key] + gained[key] - weights.question * own[key] * share[key] * searched[key].question
        for key in searched
    }
    whole: dict[bytes, Counter[str]] = {}
    for (scope, name), members in sessions.items():
        inside = [key for key in members if key in searched]
        if inside:
            whole[f"{scope}/{name}".encode()] = sum((Counter(rows[key].terms) for key in inside), Counter[str]())
    by_session = bm25(whole) if whole else {}
    prior = {
        key: by_session[f"{row.scope}/{row.session}".encode()]
        for key, row in searched.items()
        if row.session is not None
    }
    cosine = {
        key: float(row.vector @ vector)
        for key, row in searched.items()
        if row.vector is not None and vector is not None
    }
    scores: dict[bytes, float] = {}
    for key, row in searched.items():
        if vector is None and words[key] <= 0:
            continue
        total = z(words[key], words.values())
        total += weights.cosine * z(cosine[key], cosine.values()) if key in cosine else 0
        total += weights.session * z(prior[key], prior.values()) if key in prior else 0
        age = timedelta(seconds=NOW.timestamp() - row.at)
        factor = 1 + weights.recency * 2 ** -(age / weights.half_life) + weights.importance * (2 * row.importance - 1)
        scores[key] = total * factor if total > 0 else total
    best: dict[bytes, float] = {}
    for key, score in scores.items():
        source = rows[key].source or key
        best[source] = max(score, best.get(source, -math.inf))
    return best


FILTERS = [
    Filters(),
    Filters(scopes={"red"}),
    Filters(scopes={"red", "blue"}, kinds={"knowledge"}, valid_at=NOW),
    Filters(scopes={"blue"}, sessions={"s1", "s2"}, since=NOW - timedelta(days=70), until=NOW - timedelta(days=5)),
    Filters(attributes={"agent": {"keeper"}}, cost_at_most=0.8, importance_at_least=0.2),
    Filters(scopes={"green"}),
]


def assert_finds_what_the_formula_finds(index: TenantIndex, rows: dict[bytes, IndexRow], rng: random.Random) -> None:
    assert len(index) == len(rows)
    for filters in FILTERS:
        terms = list(dict.fromkeys(rng.choices([*VOCABULARY, "unheard"], k=3)))
        vector = made_row(rng, 0).vector
        found = index.search(terms, vector, filters=filters, k=len(rows) + 1, now=NOW)
        plain = plain_scores(rows, terms, vector, filters)
        assert {result.source for result in found} == set(plain)
        for result in found:
            assert result.score == pytest.approx(plain[result.source], abs=ROUNDING)
            assert passes(rows[result.key], filters)
        assert [result.score for result in found] == sorted((result.score for result in found), reverse=True)
        assert index.search(terms, vector, filters=filters, k=3, now=NOW) == found[:3]


@pytest.mark.parametrize("seed", range(4))
def test_search_equals_the_formula_after_any_changes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_MANY", 15)  # so that loads are bulk loads, and dead rows are cleared away
    rng = random.Random(seed)
    index, rows = TenantIndex(DIMENSIONS), dict[bytes, IndexRow]()
    for _ in range(6):
        new = [made_row(rng, rng.randint(0, 80)) for _ in range(rng.choice([1, 5, 40]))]
        rows |= {row.key: row for row in new}
        index.load(new)
        for key in rng.sample(sorted(rows), k=min(len(rows), rng.choice([0, 2, 20]))):
            del rows[key]
            assert index.remove(key)
            assert key not in index
    assert_finds_what_the_formula_finds(index, rows, rng)


def test_sketches_find_what_all_vectors_find(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    rows = {row.key: row for row in (made_row(rng, key) for key in range(400))}
    plain, sketched = TenantIndex(DIMENSIONS), TenantIndex(DIMENSIONS)
    plain.load(rows.values())
    for module in (vectors_module, search_module):
        monkeypatch.setattr(module, "SKETCHED", 50)
    monkeypatch.setattr(search_module, "_CANDIDATES", 80)
    sketched.load(rows.values())
    for _ in range(10):
        terms, vector = rng.choices(VOCABULARY, k=2), made_row(rng, 0).vector
        wanted = [result.source for result in plain.search(terms, vector, k=5, now=NOW)]
        monkeypatch.setattr(search_module, "SKETCHED", 50)
        assert [result.source for result in sketched.search(terms, vector, k=5, now=NOW)] == wanted


def row(key: bytes, text: str, **changes: object) -> IndexRow:
    [(_, terms, question)] = prepared("", text)
    plain = IndexRow(key=key, scope="pumps", kind="message", terms=terms, question=question, at=NOW.timestamp())
    return replace(plain, **changes)  # pyright: ignore[reportArgumentType] - the fields of IndexRow, named by each test


def found(index: TenantIndex, *terms: str, filters: Filters | None = None) -> list[bytes]:
    return [result.key for result in index.search(terms, filters=filters or Filters(), now=NOW)]


def index_of(*rows: IndexRow) -> TenantIndex:
    index = TenantIndex(DIMENSIONS)
    index.load(rows)
    return index


def test_a_removed_row_never_comes_back() -> None:
    index = index_of(row(b"a", "valve stuck"), row(b"b", "valve fine"))
    assert index.remove(b"a")
    assert not index.remove(b"a")
    assert found(index, "valv") == [b"b"]
    assert found(index, "stuck") == []


def test_a_changed_row_is_found_by_its_new_words_alone() -> None:
    index = index_of(row(b"a", "valve stuck"), row(b"b", "seal leaks"))
    index.upsert(row(b"a", "motor hums"))
    assert found(index, "valv") == []
    assert found(index, "motor") == [b"a"]
    assert len(index) == 2


def test_the_past_is_asked_by_a_moment() -> None:
    turned = NOW - timedelta(days=3)
    index = index_of(
        row(b"old", "pressure limit 4 bar", at=(NOW - timedelta(days=9)).timestamp(), valid_to=turned.timestamp()),
        row(b"new", "pressure limit 6 bar", at=turned.timestamp()),
    )
    assert found(index, "pressur", filters=Filters(valid_at=NOW)) == [b"new"]
    assert found(index, "pressur", filters=Filters(valid_at=turned - timedelta(days=1))) == [b"old"]
    assert found(index, "pressur", filters=Filters(valid_at=turned)) == [b"new"]


def test_rarity_is_counted_inside_the_scope() -> None:
    rare = [row(b"r%d" % number, "valve", scope="other") for number in range(50)]
    index = index_of(*rare, row(b"a", "valve"), row(b"b", "motor"), row(b"c", "motor"))
    inside = index.search(["valv", "motor"], filters=Filters(scopes={"pumps"}), now=NOW)
    assert inside[0].key == b"a"  # the commonest word of the tenant is the rarest of this scope
    assert inside == index_of(row(b"a", "valve"), row(b"b", "motor"), row(b"c", "motor")).search(
        ["valv", "motor"], now=NOW
    )


def test_an_answer_is_found_by_the_words_of_its_question() -> None:
    index = index_of(
        row(b"q", "Which gasket fits the intake?", session="s", seq=1),
        row(b"a", "The blue one.", session="s", seq=2),
        *(row(b"n%d" % number, "Nothing new.", session="t", seq=number) for number in range(8)),
    )
    assert found(index, "gasket", "intak")[:2] == [b"a", b"q"]  # who asks, does not tell


def test_equal_scores_stand_newest_first_then_by_key() -> None:
    earlier = NOW - timedelta(days=10_000)
    index = index_of(*(row(key, "valve", at=earlier.timestamp() + at) for key, at in ((b"c", 0), (b"b", 1), (b"a", 0))))
    assert found(index, "valv") == [b"b", b"a", b"c"]


def test_a_source_is_named_once_by_its_best_chunk() -> None:
    index = index_of(
        row(b"m/0", "valve", source=b"m"), row(b"m/1", "valve stuck open", source=b"m"), row(b"x", "motor")
    )
    results = index.search(["valv", "stuck"], now=NOW)
    assert [(result.source, result.key) for result in results] == [(b"m", b"m/1")]
    assert results[0].parts.coverage == pytest.approx(1.0)


def test_sessions_stand_in_the_order_of_their_best_row() -> None:
    index = index_of(
        row(b"a", "valve stuck", session="s"), row(b"b", "valve", session="t"), row(b"c", "motor", session="u")
    )
    ranked = rank_sessions(index.search(["valv", "stuck"], now=NOW))
    assert [session.session for session in ranked] == ["s", "t"]


def test_a_vector_that_comes_later_counts_from_then_on() -> None:
    index = index_of(row(b"a", "valve"), row(b"b", "motor"))
    vector = np.eye(DIMENSIONS, dtype=np.float32)
    assert index.search([], vector[0], now=NOW)[0].parts.cosine is None
    assert index.set_vector(b"a", vector[0])
    assert index.set_vector(b"b", vector[1])
    assert not index.set_vector(b"gone", vector[0])
    best = index.search([], vector[1], now=NOW)[0]
    assert best.key == b"b"
    assert best.parts.cosine == pytest.approx(1.0, abs=0.01)


def test_nothing_is_asked_and_nothing_found() -> None:
    index = index_of(row(b"a", "valve"))
    assert index.search([]) == []
    assert index.search([], np.zeros(DIMENSIONS, dtype=np.float32)) == []
    assert index.search(["valv"], k=0) == []
    assert TenantIndex(DIMENSIONS).search(["valv"]) == []


MISTAKES: list[tuple[Callable[[TenantIndex], object], str]] = [
    (
        lambda index: index.upsert(row(b"a", "x", vector=np.ones(3, dtype=np.float32))),
        "3 numbers, this index has 8",
    ),
    (lambda index: index.search([], np.full(DIMENSIONS, np.nan, dtype=np.float32)), "not finite"),
    (lambda index: index.upsert(row(b"a", "x", attributes={"mood": "good"})), "'mood' is none"),
    (lambda index: index.upsert(row(b"a", "x", terms={"x": 0})), "below 1"),
    (lambda index: index.search(["x"], filters=Filters(attributes={"mood": {"good"}})), "'mood' is none"),
]


@pytest.mark.parametrize(("act", "said"), MISTAKES)
def test_wrong_input_is_told_and_changes_nothing(act: Callable[[TenantIndex], object], said: str) -> None:
    index = index_of(row(b"a", "valve"))
    with pytest.raises(BadInputError, match=said):
        act(index)
    assert found(index, "valv") == [b"a"]


def test_memory_is_bounded_by_the_living_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_MANY", 20)
    index = TenantIndex(DIMENSIONS)
    for number in range(600):
        index.upsert(row(b"k", f"unique{number} valve", session=f"session{number}"))
    most = {"rows": 25, "terms": 30, "postings": 60, "names": 30}
    assert {name: size for name, size in index.sizes().items() if size > most[name]} == {}
    assert found(index, "valv") == [b"k"]
