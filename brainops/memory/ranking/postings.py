"""Which rows have a term, and how often: sorted arrays, and a small tail of what came since they were sorted.

Costs: 5 bytes a posting in the arrays. Adding is O(1) amortised: the tail is sorted in when it is an eighth of all, so
that each posting is moved a bounded number of times. Reading a term is O(its postings).
"""

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.int32]
    Counts = NDArray[np.uint8]

_MOST = 255
_SMALL_TAIL = 50_000
"""Postings: below, sorting them in would cost more than it saves."""


class Postings:
    """Terms and rows are small numbers that the index gives out."""

    def __init__(self) -> None:
        import numpy as np  # noqa: PLC0415

        self._starts = np.zeros(1, dtype=np.int64)
        self._rows: Rows = np.empty(0, dtype=np.int32)
        self._counts: Counts = np.empty(0, dtype=np.uint8)
        self._tail: dict[int, tuple[array[int], array[int]]] = {}
        self._in_tail = 0
        self._loaded: list[tuple[Rows, Rows, Counts]] = []
        """What `add_many` brought and nobody has read yet: a load in pages is sorted once."""

    def __len__(self) -> int:
        """All postings, those of removed rows included until `renumber`."""
        return len(self._rows) + self._in_tail + sum(len(rows) for _, rows, _ in self._loaded)

    def add(self, row: int, terms: Iterable[tuple[int, int]]) -> None:
        """Note `terms` (term and count) of `row`, which must be higher than those before it."""
        for term, count in terms:
            rows, counts = self._tail.setdefault(term, (array("i"), array("B")))
            rows.append(row)
            counts.append(min(count, _MOST))
            self._in_tail += 1
        if self._in_tail > max(_SMALL_TAIL, len(self._rows) // 8):
            self.merge()

    def add_many(self, terms: "array[int]", rows: "NDArray[np.integer]", counts: "array[int]") -> None:
        """Note many at once, one term, row and count each; sorted in when next read."""
        import numpy as np  # noqa: PLC0415

        if self._in_tail:
            self.merge()
        clipped = np.minimum(np.array(counts, np.int32), _MOST).astype(np.uint8)
        self._loaded.append((np.array(terms, np.int32), rows.astype(np.int32), clipped))

    def of(self, term: int) -> "tuple[Rows, Counts]":
        """The rows of `term` and its count in each, in ascending order."""
        import numpy as np  # noqa: PLC0415

        if self._loaded:
            self.merge()
        rows, counts = self._rows[:0], self._counts[:0]
        if term + 1 < len(self._starts):
            start, end = self._starts[term], self._starts[term + 1]
            rows, counts = self._rows[start:end], self._counts[start:end]
        late = self._tail.get(term)
        if late is None:
            return rows, counts
        return (
            np.concatenate((rows, np.array(late[0], dtype=np.int32))),
            np.concatenate((counts, np.array(late[1], dtype=np.uint8))),
        )

    def merge(self) -> None:
        """Sort in what was loaded and added, in this order, so that the rows of each term stay in ascending order."""
        import numpy as np  # noqa: PLC0415

        parts = list(self._loaded)
        if self._in_tail:
            rows, counts = array("i"), array("B")
            for more_rows, more_counts in self._tail.values():
                rows.extend(more_rows)
                counts.extend(more_counts)
            sizes = np.fromiter((len(rows) for rows, _ in self._tail.values()), np.int64, len(self._tail))
            terms = np.repeat(np.fromiter(self._tail, np.int32, len(self._tail)), sizes)
            parts.append((terms, np.array(rows, dtype=np.int32), np.array(counts, dtype=np.uint8)))
        self._tail, self._in_tail, self._loaded = {}, 0, []
        if parts:
            terms, rows, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
            self._merge_with(terms, rows, counts)

    def renumber(self, new_row: "Rows") -> "Rows":
        """Give each row the number `new_row[row]`, drop those of -1, and number the terms that are left anew.

        Returns the new number of each old term, -1 for those that no row has any more.
        """
        import numpy as np  # noqa: PLC0415

        self.merge()
        terms = np.repeat(np.arange(len(self._starts) - 1, dtype=np.int32), np.diff(self._starts))
        rows = new_row[self._rows]
        kept = rows >= 0
        terms, rows, counts = terms[kept], rows[kept], self._counts[kept]
        left = np.zeros(len(self._starts) - 1, dtype=bool)
        left[terms] = True
        new_term = np.where(left, np.cumsum(left) - 1, -1).astype(np.int32)
        self._starts = np.zeros(1, dtype=np.int64)
        self._rows, self._counts = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.uint8)
        self._merge_with(new_term[terms], rows, counts)
        return new_term

    def _merge_with(self, terms: "Rows", rows: "Rows", counts: "Counts") -> None:
        import numpy as np  # noqa: PLC0415

        if not len(terms):
            return
        known = len(self._starts) - 1
        all_terms = np.concatenate((np.repeat(np.arange(known, dtype=np.int32), np.diff(self._starts)), terms))
        order = np.argsort(all_terms, kind="stable")
        self._rows = np.concatenate((self._rows, rows))[order]
        self._counts = np.concatenate((self._counts, counts))[order]
        sizes = np.bincount(all_terms, minlength=known)
        self._starts = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(sizes, dtype=np.int64)))
