"""The index of one tenant, in this process: words, vectors and attributes of its rows, searched by one fused score.

Not a store: it is loaded from the database and follows it. Not safe for threads: whoever shares one holds a lock.

Costs [measured at 100,000 rows of 10 to 40 words, 256 dimensions, two cores]: see `benchmarks/README.md`, section
recall. In words: a search is linear in the rows of the tenant with a small constant, and in the postings of the query's
terms; a load is linear; adding and removing a row are O(1) amortised, since what was added is sorted in, and what was
removed is cleared away, only when it is a fixed share of all. So memory is bounded by a multiple of the living rows,
the names and terms that only dead rows had included.
"""

from array import array
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from brainops.errors import BadInputError
from brainops.memory.ranking.columns import Columns
from brainops.memory.ranking.fusion import Weights
from brainops.memory.ranking.postings import Postings
from brainops.memory.ranking.rows import ATTRIBUTES, Filters, IndexRow, Scored
from brainops.memory.ranking.search import Query, Search
from brainops.memory.ranking.vectors import Vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_MANY = 1_000
"""Rows that are loaded as one; fewer are added one by one."""


_DEAD_SHARE = 0.25
"""Of dead rows, from which on they are cleared away."""

_EVERYTHING = Filters()
_DEFAULT = Weights()


class TenantIndex:
    """Rows of one tenant. `dimensions` are those of its vectors; a row's other vectors are refused."""

    def __init__(self, dimensions: int) -> None:
        self._columns = Columns()
        self._postings = Postings()
        self._vectors = Vectors(dimensions)
        self._term: dict[str, int] = {}
        self._row: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._sources: list[bytes] = []

    def __len__(self) -> int:
        """Rows that can be found."""
        return len(self._row)

    def __contains__(self, key: bytes) -> bool:
        return key in self._row

    def sizes(self) -> dict[str, int]:
        """What is held, for the metrics: rows (removed ones that are not cleared away included), terms, postings, names."""
        names = sum(len(names.all) for names in self._columns.names.values())
        return {
            "rows": self._columns.count,
            "terms": len(self._term),
            "postings": len(self._postings),
            "names": names,
        }

    def upsert(self, row: IndexRow) -> None:
        """Add `row`, or put it in the place of the one with its key.

        Raises BadInputError for a vector of another size, an unknown attribute or a count below one; then nothing changed.
        """
        self._check([row])
        self.remove(row.key)
        number = self._append([row])
        self._columns.link(number)
        self._postings.add(number, zip(self._numbers(row.terms), row.terms.values(), strict=True))
        self._vectors.fit()

    def load(self, rows: Iterable[IndexRow]) -> None:
        """`upsert` of many; of two rows with one key the later stays. From 1,000 rows on much faster than one by one."""
        import numpy as np  # noqa: PLC0415

        new = {row.key: row for row in rows}
        if len(new) < _MANY:
            for row in new.values():
                self.upsert(row)
            return
        fresh = list(new.values())
        self._check(fresh)
        for key in new:
            self.remove(key)
        first = self._append(fresh)
        terms, counts = array("i"), array("i")
        for row in fresh:
            terms.extend(self._numbers(row.terms))
            counts.extend(row.terms.values())
        sizes = [len(row.terms) for row in fresh]
        self._postings.add_many(terms, np.repeat(np.arange(first, first + len(fresh)), sizes), counts)
        self._columns.link_later()
        self._vectors.fit()

    def remove(self, key: bytes) -> bool:
        """Forget the row of `key`; whether there was one. It is never found again from this moment on."""
        number = self._row.pop(key, None)
        if number is None:
            return False
        self._columns.unlink(number)
        self._vectors.put(number, [None])
        dead = self._columns.count - len(self._row)
        if dead > max(_MANY, _DEAD_SHARE * self._columns.count):
            self._clear_away()
        return True

    def set_vector(self, key: bytes, vector: "Floats") -> bool:
        """Give the row of `key` its vector, when it was embedded; whether there is such a row."""
        self._vectors.check([vector])
        number = self._row.get(key)
        if number is None:
            return False
        self._vectors.put(number, [vector])
        self._vectors.fit()
        return True

    def search(
        self,
        terms: Sequence[str],
        vector: "Floats | None" = None,
        *,
        filters: Filters = _EVERYTHING,
        k: int = 10,
        weights: Weights = _DEFAULT,
        now: datetime | None = None,
    ) -> list[Scored]:
        """The `k` best sources among the rows that pass `filters`, best first; equal scores newest first, then by key.

        `terms` are the query's (`words.terms`); `vector` is its vector of unit length, None when it could not be made:
        then words decide alone, and only what has one of them, or stands beside it, is found. A query without terms and
        vector finds nothing. `now` is the moment from which recency is counted (None: the present).
        """
        if vector is not None:
            self._vectors.check([vector])
            vector = vector if vector.any() else None
        numbers = [self._term[term] for term in dict.fromkeys(terms) if term in self._term]
        unknown = len(set(terms)) - len(numbers)
        if k < 1 or (not terms and vector is None):
            return []
        moment = (now or datetime.now(UTC)).timestamp()
        query = Query(numbers, unknown, vector, self._columns.chosen(filters), moment, k, weights)
        found = Search(self._columns, self._postings, self._vectors, query)
        return [
            Scored(
                key=self._keys[row],
                source=self._sources[row],
                session=self._columns.session_of(row),
                at=float(self._columns["at"][row]),
                score=score,
                parts=parts,
            )
            for row, score, parts in found.best(self._keys, self._sources)
        ]

    def _check(self, rows: Sequence[IndexRow]) -> None:
        self._vectors.check(row.vector for row in rows if row.vector is not None)
        for row in rows:
            for name in row.attributes:
                if name not in ATTRIBUTES:
                    raise BadInputError(f"attributes: {name!r} is none; there are {', '.join(ATTRIBUTES)}")
            if min(row.terms.values(), default=1) < 1:
                raise BadInputError("terms: a count is below 1; leave out what is not there")

    def _append(self, rows: Sequence[IndexRow]) -> int:
        self._make_room(len(rows))
        first = self._columns.extend(rows, [sum(row.terms.values()) for row in rows])
        for number, row in enumerate(rows, start=first):
            self._row[row.key] = number
            self._keys.append(row.key)
            self._sources.append(row.key if row.source is None else row.source)
        self._vectors.put(first, [row.vector for row in rows])
        return first

    def _numbers(self, terms: Iterable[str]) -> list[int]:
        """The number of each term, given out now if it is new."""
        known = self._term
        return [known.setdefault(term, len(known)) for term in terms]

    def _make_room(self, more: int) -> None:
        """Grow by an eighth at least, so that adding is O(1) amortised and at most an eighth stands empty."""
        needed = self._columns.count + more
        if needed > self._columns.capacity:
            capacity = max(needed, self._columns.capacity * 9 // 8, _MANY)
            self._columns.resize(capacity)
            self._vectors.resize(capacity)

    def _clear_away(self) -> None:
        """Number the living rows anew, and forget what only dead ones had."""
        import numpy as np  # noqa: PLC0415

        kept = np.flatnonzero(self._columns["alive"]).astype(np.int32)
        new_row = np.full(self._columns.count, -1, dtype=np.int32)
        new_row[kept] = np.arange(len(kept))
        new_term = self._postings.renumber(new_row)
        # A term that is known and has no postings yet cannot be: both are written by one call.
        self._term = {term: int(new_term[old]) for term, old in self._term.items() if new_term[old] >= 0}
        self._columns.renumber(kept)
        self._vectors.renumber(kept)
        self._keys = [self._keys[row] for row in kept]
        self._sources = [self._sources[row] for row in kept]
        self._row = {key: row for row, key in enumerate(self._keys)}
