"""Vectors of an index: a byte a number, and a sketch of each that finds the candidates.

Reading 100,000 vectors of 256 numbers takes 13 to 20 ms on two cores in whatever form [measured], which is all the time
that a recall has. So from `SKETCHED` rows on, a search first compares sketches (the 64 directions in which this tenant's
vectors differ most, 0.6 ms), and then the vectors of the candidates alone.

Memory: `dimensions` + 4 bytes a row, and 256 more for its sketch where there is one. Rounding to a byte moves a cosine
by less than 0.01.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from brainops.errors import BadInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = NDArray[np.int32] | NDArray[np.int64]

SKETCHED = 16_384
"""Rows from which on sketches are kept, and candidates found by them."""

_SKETCH = 64
_FITTED_ON = 8_192
_BLOCK = 1_024


class Vectors:
    """One vector a row, some rows without. Rows are numbers that the index gives out."""

    def __init__(self, dimensions: int) -> None:
        import numpy as np  # noqa: PLC0415

        self.dimensions = dimensions
        self._bytes = np.zeros((0, dimensions), dtype=np.int8)
        self._scale: Floats = np.zeros(0, dtype=np.float32)
        self._basis: Floats | None = None
        self._sketch: Floats = np.zeros((0, min(_SKETCH, dimensions)), dtype=np.float32)
        self._fitted_at = 0
        self._top = 0

    def resize(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._bytes = _resized(self._bytes, capacity)
        self._scale = _resized(self._scale, capacity)
        if self._basis is not None:
            self._sketch = _resized(self._sketch, capacity)

    def check(self, vectors: "Iterable[Floats]") -> None:
        """Raise BadInputError when one of `vectors` does not belong here."""
        import numpy as np  # noqa: PLC0415

        given = list(vectors)
        for vector in given:
            if vector.shape != (self.dimensions,):
                found = "x".join(str(size) for size in vector.shape)
                raise BadInputError(f"vector: it has {found} numbers, this index has {self.dimensions}")
        for start in range(0, len(given), _BLOCK):
            if not np.isfinite(given[start : start + _BLOCK]).all():
                raise BadInputError("vector: it has numbers that are not finite; embed the text again")

    def put(self, first: int, vectors: "Sequence[Floats | None]") -> None:
        """Set the vectors of the rows from `first` on, None where a row has none."""
        import numpy as np  # noqa: PLC0415

        self._top = max(self._top, first + len(vectors))
        self._scale[first : first + len(vectors)] = 0
        having = [place for place, vector in enumerate(vectors) if vector is not None]
        for start in range(0, len(having), _BLOCK):
            places = having[start : start + _BLOCK]
            block = np.array([vectors[place] for place in places], dtype=np.float32)
            lengths = np.linalg.norm(block, axis=1)
            steps = np.abs(block).max(axis=1) / 127
            steps[steps == 0] = 1
            rows = np.array(places) + first
            self._bytes[rows] = np.rint(block / steps[:, np.newaxis])
            self._scale[rows] = np.where(lengths > 0, steps / np.where(lengths > 0, lengths, 1), 0)
            if self._basis is not None:
                self._sketch[rows] = self._bytes[rows].astype(np.float32) @ self._basis * self._scale[rows, np.newaxis]

    def fit(self) -> None:
        """Make sketches when there are enough rows for the first time, and anew when these have doubled."""
        import numpy as np  # noqa: PLC0415

        if self._top < max(SKETCHED, 2 * self._fitted_at):
            return
        having = np.flatnonzero(self._scale[: self._top])
        if len(having) < SKETCHED // 2:
            return
        chosen = having[:: max(1, len(having) // _FITTED_ON)]
        some = self._bytes[chosen].astype(np.float32) * self._scale[chosen, np.newaxis]
        # Directions of the second moment, not of the variance: what is approximated is the plain dot product.
        _, directions = np.linalg.eigh(some.T @ some)
        self._basis = np.ascontiguousarray(directions[:, ::-1][:, : self._sketch.shape[1]], dtype=np.float32)
        self._sketch = np.zeros((len(self._scale), self._sketch.shape[1]), dtype=np.float32)
        for start, block in self._blocks(np.arange(self._top)):
            scale = self._scale[start : start + len(block), np.newaxis]
            self._sketch[start : start + len(block)] = (block @ self._basis) * scale
        self._fitted_at = self._top

    def has(self, rows: "Rows") -> "NDArray[np.bool_]":
        """Whether each of `rows` has a vector."""
        return self._scale[rows] > 0

    def cosines(self, query: "Floats", rows: "Rows") -> "Floats":
        """With each of `rows`; 0 for those without a vector. `query` is of unit length. 0.1 ms for 1,000 rows."""
        import numpy as np  # noqa: PLC0415

        found = np.empty(len(rows), dtype=np.float32)
        for start, block in self._blocks(rows):
            np.vecdot(block, query, out=found[start : start + len(block)])
        return found * self._scale[rows]

    def sketched(self, query: "Floats") -> "Floats | None":
        """About the cosine with every row; None where there are no sketches."""
        import numpy as np  # noqa: PLC0415

        if self._basis is None:
            return None
        # Row by row: as one product of a matrix it would be shared out among threads, which costs more than it gains
        # as soon as the machine has something else to do [measured: 24 ms of CPU against 1].
        return np.vecdot(self._sketch[: self._top], np.dot(query, self._basis))

    def renumber(self, kept: "Rows") -> None:
        """Keep the rows `kept`, in this order, as rows 0, 1, …."""
        self._bytes = self._bytes[kept]
        self._scale = self._scale[kept]
        if self._basis is not None:
            self._sketch = self._sketch[kept]
        self._top = len(kept)

    def _blocks(self, rows: "Rows") -> "Iterator[tuple[int, Floats]]":
        """Without their scale, by blocks that stay in the processor's cache."""
        import numpy as np  # noqa: PLC0415

        for start in range(0, len(rows), _BLOCK):
            yield start, self._bytes[rows[start : start + _BLOCK]].astype(np.float32)


def _resized(values: "NDArray[np.generic]", capacity: int) -> "NDArray[Any]":
    import numpy as np  # noqa: PLC0415

    larger = np.zeros((capacity, *values.shape[1:]), dtype=values.dtype)
    kept = min(len(values), capacity)
    larger[:kept] = values[:kept]
    return larger
