"""The score of a row: its words, its context, its meaning, and the session that it stands in.

    score = z(BM25 + context) + 0.75 z(cosine) + 0.5 z(BM25 of the session), times a bounded factor

Each term is there because leaving it out was measured to cost; `benchmarks/README.md` has the table.

- **Context.** A chat message is short and leans on what stands around it: each of the two rows before and after lends
  half and a quarter of its BM25, and a question lends another half to the row that answers it. A question itself is
  worth a quarter less: who asks, does not tell.
- **Length.** A long text has its context in itself and matches by chance. So what a row borrows and lends shrinks with
  its length beyond `pivot` terms, and BM25 takes no typical length below `pivot`: within a chat of short messages the
  longer one is not the worse one. Chats and long documents are thereby ranked by the same weights.
- **z.** BM25 and cosine have no common scale; among the rows searched, standard deviations are one.

Pure functions over arrays, one number a row.
"""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Weights:
    """What each part counts. The defaults are round numbers from a wide optimum, not a fit."""

    k1: float = 0.9
    b: float = 0.75
    """BM25's saturation and length normalisation (Robertson and Zaragoza, 2009)."""
    pivot: float = 40.0
    """Terms of a text that is not yet long: about 70 words."""
    neighbour: float = 0.5
    """Of what a row lends to the next in each direction; its square goes to the one after that."""
    answer: float = 0.5
    """What a question lends beyond that to the row after it."""
    question: float = 0.25
    """What a question loses of its own."""
    cosine: float = 0.75
    session: float = 0.5
    recency: float = 0.1
    """The most that the newest row gains; 0.1 lets it pass a row whose score is a tenth better."""
    half_life: timedelta = timedelta(days=30)
    importance: float = 0.1
    """The most that importance 1 gains and importance 0 loses; 0.5 is neutral."""


def idf(rows: int, having: int) -> float:
    """Rarity of a term that `having` of `rows` have; never negative (Lucene's form)."""
    return math.log(1 + (rows - having + 0.5) / (having + 0.5))


def length_norm(lengths: "Floats", mean: float, weights: Weights) -> "Floats":
    """BM25's denominator beside the count, for each row."""
    import numpy as np  # noqa: PLC0415

    norm = weights.k1 * (1 - weights.b + weights.b * lengths / max(mean, weights.pivot))
    return norm.astype(np.float32)


def saturated(counts: "Floats", norm: "Floats", weights: Weights) -> "Floats":
    """How much a term's count in a row says; at most `k1 + 1`."""
    import numpy as np  # noqa: PLC0415

    return (counts * (weights.k1 + 1) / (counts + norm)).astype(np.float32)


def context(
    own: "Floats", lengths: "Floats", before: "Rows", after: "Rows", asks: "NDArray[np.bool_]", weights: Weights
) -> "Floats":
    """What each row gains from the rows around it, and loses as a question.

    `own` is each row's BM25; `before` and `after` its neighbours in the session, -1 for none, and a last -1 behind those
    of all rows, so that the neighbour of none is none. Only rows that have something to lend are visited.
    """
    import numpy as np  # noqa: PLC0415

    gained = np.zeros(len(own) + 1, dtype=np.float32)  # the last takes what would go to -1
    lenders = np.flatnonzero(own)
    if not len(lenders):
        return gained[:-1]
    share = np.minimum(1, weights.pivot / np.maximum(lengths[lenders], 1)).astype(np.float32)
    lent = own[lenders] * share
    for links in (before, after):
        step = links[lenders]
        # A row is the neighbour of one row only, so no index but -1 is there twice.
        gained[step] += weights.neighbour * lent
        gained[links[step]] += weights.neighbour**2 * lent
    asking = asks[lenders]
    gained[after[lenders[asking]]] += weights.answer * lent[asking]
    changed = np.flatnonzero(gained[:-1])
    gained[changed] *= np.minimum(1, weights.pivot / np.maximum(lengths[changed], 1))
    gained[lenders] -= weights.question * lent * asking
    return gained[:-1]


def z(values: "Floats", *, like: "Floats | None" = None) -> "Floats":
    """`values` in standard deviations from the mean of `like` (of themselves); zeros where nothing varies."""
    import numpy as np  # noqa: PLC0415

    of = values if like is None else like
    spread = float(of.std()) if len(of) else 0.0
    if spread < 1e-6:
        return np.zeros(len(values), dtype=np.float32)
    return ((values - of.mean()) / spread).astype(np.float32)


def factor(ages: "NDArray[np.float64]", importance: "Floats", weights: Weights) -> "Floats":
    """By what recency and importance multiply a positive score; a score below zero stays as it is.

    `ages` in seconds, of the moment asked about; what is newer than that has the age 0.
    """
    import numpy as np  # noqa: PLC0415

    recent = np.exp2(-np.maximum(ages, 0) / weights.half_life.total_seconds())
    return (1 + weights.recency * recent + weights.importance * (2 * importance - 1)).astype(np.float32)
