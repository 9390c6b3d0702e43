"""One search over the parts of an index: which rows, by which score, in which order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from brainops.memory.ranking.columns import Columns
from brainops.memory.ranking.fusion import Weights, context, factor, idf, length_norm, saturated, z
from brainops.memory.ranking.postings import Postings
from brainops.memory.ranking.rows import Parts
from brainops.memory.ranking.vectors import SKETCHED, Vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = NDArray[np.int64]
    Mask = NDArray[np.bool_]

MAX_QUERY_TERMS = 48
"""A longer query is searched by its rarest terms: a whole pasted log must not cost seconds."""

_CANDIDATES = 1_000
"""Rows whose vectors are compared in full where sketches chose them, or 20 for each result if that is more."""

_SAMPLE = 1_024
"""Rows whose cosines tell mean and spread where not all are compared."""


@dataclass(frozen=True)
class Query:
    """What is searched for, and among which rows."""

    terms: Sequence[int]
    unknown: int
    """How many of its terms no row has."""
    vector: "Floats | None"
    mask: "Mask"
    now: float
    k: int
    weights: Weights


@dataclass(frozen=True)
class _Matches:
    """What the terms found: one number a row, and one a session."""

    own: "Floats"
    sessions: "Floats"
    terms: "list[tuple[Rows, float]]"
    """For each term that was found, its rows in ascending order, and its rarity."""
    rarity: float
    """Of all the query's terms together, those that no row has included."""


@dataclass(frozen=True)
class _Meaning:
    """Cosines of `candidates`, which are places in the searched rows."""

    candidates: "Rows"
    cosines: "Floats"
    cosines_z: "Floats"


class Search:
    """Lives for one call; an index must not change under it."""

    def __init__(self, columns: Columns, postings: Postings, vectors: Vectors, query: Query) -> None:
        import numpy as np  # noqa: PLC0415

        self._columns = columns
        self._postings = postings
        self._vectors = vectors
        self._query = query
        self._rows = np.flatnonzero(query.mask)
        self._everything = len(self._rows) == len(query.mask)

    def best(self, keys: Sequence[bytes], sources: Sequence[bytes]) -> Iterator[tuple[int, float, Parts]]:
        """Row, score and parts of the best row of each of the `k` best sources."""
        import numpy as np  # noqa: PLC0415

        if not len(self._rows):
            return
        meaning = self._meaning
        scores = self._sum(meaning.cosines_z, meaning.candidates)
        factors = self._factors(meaning.candidates)
        scores = np.where(scores > 0, scores * factors, scores)
        places = np.array(self._order(scores, keys, sources), dtype=np.int64)
        factors = np.where(scores > 0, factors, 1)
        rows: list[int] = self._rows[meaning.candidates[places]].tolist()
        yield from zip(rows, scores[places].tolist(), self._parts(places, factors[places]), strict=True)

    def _order(self, scores: "Floats", keys: Sequence[bytes], sources: Sequence[bytes]) -> list[int]:
        """Places in the candidates, best first, one a source."""
        import numpy as np  # noqa: PLC0415

        rows = self._rows[self._meaning.candidates]
        said = self._columns["at"]
        wanted, chosen = 4 * self._query.k, list[int]()
        while len(scores):
            wanted = min(wanted, len(scores))
            threshold = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
            places = np.flatnonzero(scores >= threshold)
            numbers: list[int] = rows[places].tolist()
            order = zip(
                (-scores[places]).tolist(),
                (-said[rows[places]]).tolist(),
                [keys[row] for row in numbers],
                [sources[row] for row in numbers],
                places.tolist(),
                strict=True,
            )
            first: dict[bytes, int] = {}
            for _, _, _, source, place in sorted(order):
                first.setdefault(source, place)
            chosen = list(first.values())[: self._query.k]
            if len(chosen) >= self._query.k or wanted == len(scores):
                break
            wanted *= 4
        return chosen

    def _parts(self, places: "Rows", factors: "Floats") -> Iterator[Parts]:
        """What the scores of the candidates at `places` are made of."""
        meaning = self._meaning
        searched = meaning.candidates[places]
        rows = self._rows[searched]
        has_vector: list[bool] = self._vectors.has(rows).tolist()
        own = self._matches.own[rows]
        columns: list[list[float]] = [
            column.tolist()
            for column in (
                own,
                self._words[rows] - own,
                self._words_z[searched],
                meaning.cosines[places],
                meaning.cosines_z[places],
                self._session_z[searched],
                factors,
                self._coverage(rows),
            )
        ]
        compared = self._query.vector is not None
        for having, (words, lent, words_z, cosine, cosine_z, session_z, factor_, coverage) in zip(
            has_vector, zip(*columns, strict=True), strict=True
        ):
            yield Parts(
                words=words,
                context=lent,
                words_z=words_z,
                cosine=cosine if compared and having else None,
                cosine_z=cosine_z,
                session_z=session_z,
                factor=factor_,
                coverage=coverage,
            )

    def _coverage(self, rows: "Rows") -> "NDArray[np.float64]":
        import numpy as np  # noqa: PLC0415

        found = np.zeros(len(rows))
        if not self._matches.rarity:
            return found
        for having, rarity in self._matches.terms:
            if len(having):
                places = np.minimum(np.searchsorted(having, rows), len(having) - 1)
                found += rarity * (having[places] == rows)
        return found / self._matches.rarity

    def _sum(self, cosines_z: "Floats", places: "Rows | slice") -> "Floats":
        """The score without its factor, `places` being those of the searched rows that `cosines_z` belong to."""
        import numpy as np  # noqa: PLC0415

        weights = self._query.weights
        total = self._words_z[places] + weights.cosine * cosines_z + weights.session * self._session_z[places]
        return total.astype(np.float32)

    def _of_searched(self, values: "NDArray[Any]") -> "NDArray[Any]":
        """One number a row of the index, as one for each searched row."""
        return values if self._everything else values[self._rows]

    @cached_property
    def _matches(self) -> _Matches:
        """BM25 of each row and each session. Rarity and length are those of the searched rows alone."""
        import numpy as np  # noqa: PLC0415

        weights, columns, total = self._query.weights, self._columns, len(self._rows)
        lengths, session = columns["length"], columns["session"]
        searched = self._of_searched(lengths)
        norm = length_norm(lengths, float(searched.mean()), weights)
        own = np.zeros(len(lengths), dtype=np.float32)
        sessions = len(columns.names["session"].all)
        of_session = _by_session(self._of_searched(session), searched, sessions)
        living = int(np.count_nonzero(of_session))
        session_norm = length_norm(of_session, float(of_session.sum() / max(living, 1)), weights)
        by_session = np.zeros(sessions, dtype=np.float32)
        terms: list[tuple[Rows, float]] = []
        for rows, counts in self._rarest():
            rarity = idf(total, len(rows))
            terms.append((rows, rarity))
            own[rows] += rarity * saturated(counts, norm[rows], weights)
            said = _by_session(session[rows], counts, sessions)
            having = np.flatnonzero(said)
            by_session[having] += idf(living, len(having)) * saturated(said[having], session_norm[having], weights)
        return _Matches(own, by_session, terms, self._query.unknown * idf(total, 0) + sum(r for _, r in terms))

    def _rarest(self) -> "list[tuple[Rows, Floats]]":
        """Of each term its rows and counts, among the searched rows, for at most `MAX_QUERY_TERMS` terms."""
        import numpy as np  # noqa: PLC0415

        found: list[tuple[Rows, Floats]] = []
        for term in self._query.terms:
            rows, counts = self._postings.of(term)
            if not self._everything:
                kept = self._query.mask[rows]
                rows, counts = rows[kept], counts[kept]
            found.append((rows.astype(np.int64), counts.astype(np.float32)))
        found.sort(key=lambda term: len(term[0]))
        return found[:MAX_QUERY_TERMS]

    @cached_property
    def _words(self) -> "Floats":
        columns, own = self._columns, self._matches.own
        return own + context(
            own,
            columns["length"],
            columns.links("before"),
            columns.links("after"),
            columns["asks"],
            self._query.weights,
        )

    @cached_property
    def _words_z(self) -> "Floats":
        return z(self._of_searched(self._words))

    @cached_property
    def _session_z(self) -> "Floats":
        """By row, so that long sessions weigh by their length; 0 for rows without a session."""
        import numpy as np  # noqa: PLC0415

        session = self._of_searched(self._columns["session"])
        inside = session >= 0
        values = self._matches.sessions[session[inside]]
        found = np.zeros(len(session), dtype=np.float32)
        found[inside] = z(values)
        return found

    def _factors(self, places: "Rows") -> "Floats":
        columns, query, rows = self._columns, self._query, self._rows[places]
        return factor(query.now - columns["at"][rows], columns["importance"][rows], query.weights)

    @cached_property
    def _meaning(self) -> _Meaning:
        import numpy as np  # noqa: PLC0415

        vector, rows = self._query.vector, self._rows
        if vector is None:
            named = np.flatnonzero(self._of_searched(self._words) > 0)
            nothing = np.zeros(len(named), dtype=np.float32)
            return _Meaning(named, nothing, nothing)
        having = self._vectors.has(rows)
        sketched = self._vectors.sketched(vector) if len(rows) > SKETCHED else None
        if sketched is None:
            cosines = self._vectors.cosines(vector, rows)
            return _Meaning(np.arange(len(rows)), cosines, np.where(having, z(cosines, like=cosines[having]), 0))
        about = self._of_searched(sketched)
        # The factor is left out here: it is too small to bring a row from behind the candidates to the front.
        rough = self._sum(np.where(having, z(about, like=about[having]), 0), slice(None))
        most = min(max(_CANDIDATES, 20 * self._query.k), len(rows))
        candidates = np.argpartition(rough, len(rows) - most)[len(rows) - most :]
        cosines = self._vectors.cosines(vector, rows[candidates])
        with_vector = rows[having]
        sample = with_vector[:: max(1, len(with_vector) // _SAMPLE)]
        cosines_z = z(cosines, like=self._vectors.cosines(vector, sample))
        return _Meaning(candidates, cosines, np.where(having[candidates], cosines_z, 0))


def _by_session(session: "NDArray[np.int32]", values: "Floats", sessions: int) -> "Floats":
    """The sum of `values` for each session; those of no session (-1) are left out."""
    import numpy as np  # noqa: PLC0415

    return np.bincount(session + 1, values, sessions + 1)[1:].astype(np.float32)
