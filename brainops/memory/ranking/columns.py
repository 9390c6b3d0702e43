"""The attributes of an index's rows: one array each, names as small numbers, and the order of rows in their sessions."""

from collections.abc import Iterable, Sequence, Set
from typing import TYPE_CHECKING, Any

from brainops.errors import BadInputError
from brainops.memory.ranking.rows import ATTRIBUTES, Filters, IndexRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.int32]
    Mask = NDArray[np.bool_]

_NUMBERS = {
    "at": "f8",
    "valid_from": "f8",
    "valid_to": "f8",
    "cost": "f4",
    "importance": "f4",
    "length": "f4",
    "seq": "i8",
    "part": "i4",
    "asks": "?",
    "alive": "?",
    "before": "i4",
    "after": "i4",
}
_NEVER, _UNKNOWN = float("inf"), float("nan")
_LINKS = ("before", "after")
_NAMED = ("scope", "kind", "session", *ATTRIBUTES)


class Names:
    """Names as small numbers, in order of arrival; -1 stands for none."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self.all: list[str] = []

    def numbers(self, names: Iterable[str | None]) -> list[int]:
        """The number of each of `names`, given out now if it is new."""
        known, found = self._number, list[int]()
        for name in names:
            number = -1 if name is None else known.get(name)
            if number is None:
                number = known[name] = len(known)  # pyright: ignore[reportArgumentType] - a name that is None has -1
                self.all.append(name)  # pyright: ignore[reportArgumentType]
            found.append(number)
        return found

    def among(self, wanted: Set[str]) -> "Mask":
        """For each number, and at the end for none, whether its name is wanted."""
        import numpy as np  # noqa: PLC0415

        mask = np.zeros(len(self.all) + 1, dtype=bool)
        mask[[self._number[name] for name in wanted if name in self._number]] = True
        return mask

    def renumber(self, numbers: "Rows") -> "Rows":
        """Forget the names that `numbers` does not have, and return `numbers` as they are now."""
        import numpy as np  # noqa: PLC0415

        left = np.unique(numbers[numbers >= 0])
        names, new = self.all, np.full(len(self.all) + 1, -1, dtype=np.int32)
        new[left] = np.arange(len(left))
        self.all = [names[number] for number in left]
        self._number = {name: number for number, name in enumerate(self.all)}
        return new[numbers]


class Columns:
    """Arrays with room for `capacity` rows, of which the first `count` are in use; some of these are dead.

    About 90 bytes a row. A session is known by its scope and its name, so that two scopes may use one name.
    """

    def __init__(self) -> None:
        import numpy as np  # noqa: PLC0415

        self.count = 0
        self.capacity = 0
        self.names = {column: Names() for column in _NAMED}
        self._arrays: dict[str, NDArray[Any]] = {
            **{column: np.empty(0, dtype=kind) for column, kind in _NUMBERS.items()},
            **{column: np.empty(0, dtype=np.int32) for column in _NAMED},
        }
        self._last: list[int] = []
        """The last row of each session."""
        self._linked = True

    def __getitem__(self, column: str) -> "NDArray[Any]":
        """The rows in use, of one column."""
        return self._arrays[column][: self.count]

    def links(self, column: str) -> "Rows":
        """`before` or `after`, with one more entry at its end, so that the neighbour of -1 (no row) is -1."""
        if not self._linked:
            self._link_all()
        return self._arrays[column][: self.count + 1]

    def resize(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        import numpy as np  # noqa: PLC0415

        for column, array in self._arrays.items():
            # One more than there is room for: the links of a row that is none, by which a walk may be taken on blindly.
            larger = np.full(capacity + 1, -1 if column in _LINKS else 0, dtype=array.dtype)
            larger[: self.count] = array[: self.count]
            self._arrays[column] = larger
        self.capacity = capacity

    def extend(self, rows: Sequence[IndexRow], lengths: Sequence[int]) -> int:
        """Put `rows` behind the last one, without their neighbours; the number of the first. There must be room."""
        first = self.count
        self.count += len(rows)
        self["at"][first:] = [row.at for row in rows]
        self["valid_from"][first:] = [row.at if row.valid_from is None else row.valid_from for row in rows]
        self["valid_to"][first:] = [_NEVER if row.valid_to is None else row.valid_to for row in rows]
        self["cost"][first:] = [_UNKNOWN if row.cost is None else row.cost for row in rows]
        self["importance"][first:] = [row.importance for row in rows]
        self["length"][first:] = lengths
        self["seq"][first:] = [row.seq for row in rows]
        self["part"][first:] = [row.part for row in rows]
        self["asks"][first:] = [row.question for row in rows]
        self["alive"][first:] = True
        self["before"][first:] = self["after"][first:] = -1
        self["scope"][first:] = self.names["scope"].numbers(row.scope for row in rows)
        self["kind"][first:] = self.names["kind"].numbers(row.kind for row in rows)
        self["session"][first:] = self.names["session"].numbers(_session(row.scope, row.session) for row in rows)
        for name in ATTRIBUTES:
            self[name][first:] = self.names[name].numbers(row.attributes.get(name) for row in rows)
        return first

    def session_of(self, row: int) -> str | None:
        """The session's name as it was given."""
        number = int(self._arrays["session"][row])
        return None if number < 0 else self.names["session"].all[number].partition("\0")[2]

    def link(self, row: int) -> None:
        """Find `row`'s place in its session; O(1) for the newest, else O(rows after it)."""
        session = int(self._arrays["session"][row])
        if session < 0 or not self._linked:
            return
        self._last.extend([-1] * (len(self.names["session"].all) - len(self._last)))
        before, after = self._arrays["before"], self._arrays["after"]
        behind, ahead = self._last[session], -1
        while behind >= 0 and self._place(behind) > self._place(row):
            behind, ahead = int(before[behind]), behind
        before[row], after[row] = behind, ahead
        if behind >= 0:
            after[behind] = row
        if ahead >= 0:
            before[ahead] = row
        else:
            self._last[session] = row

    def unlink(self, row: int) -> None:
        """Take `row` out of its session, and mark it dead."""
        arrays = self._arrays
        arrays["alive"][row] = False
        session, behind, ahead = int(arrays["session"][row]), int(arrays["before"][row]), int(arrays["after"][row])
        if session < 0 or not self._linked:
            return
        if behind >= 0:
            arrays["after"][behind] = ahead
        if ahead >= 0:
            arrays["before"][ahead] = behind
        else:
            self._last[session] = behind

    def link_later(self) -> None:
        """Find every row's place at once, when it is next asked for: for a load of many, in pages."""
        self._linked = False

    def _link_all(self) -> None:
        import numpy as np  # noqa: PLC0415

        self._linked = True
        self["before"][:] = self["after"][:] = -1
        self._last = [-1] * len(self.names["session"].all)
        rows = np.flatnonzero(self["alive"] & (self["session"] >= 0))
        if not len(rows):
            return
        order = rows[np.lexsort((rows, self["part"][rows], self["seq"][rows], self["session"][rows]))]
        session = self["session"][order]
        same = session[1:] == session[:-1]
        self["before"][order[1:][same]] = order[:-1][same]
        self["after"][order[:-1][same]] = order[1:][same]
        for row in order[np.append(~same, True)]:
            self._last[int(self["session"][row])] = int(row)

    def renumber(self, kept: "Rows") -> None:
        """Keep the rows `kept`, in this order, and the names that they use."""
        for column in self._arrays:
            self._arrays[column] = self[column][kept]
        self.count = len(kept)
        for column in _NAMED:
            self._arrays[column] = self.names[column].renumber(self._arrays[column])
        self.resize(len(kept))
        self.link_later()

    def chosen(self, filters: Filters) -> "Mask":
        """Which rows are alive and pass `filters`."""
        mask = self["alive"].copy()
        for column, wanted in (("scope", filters.scopes), ("kind", filters.kinds), *_attributes(filters)):
            if wanted is not None:
                mask &= self.names[column].among(wanted)[self[column]]
        if filters.sessions is not None:
            mask &= self._sessions(filters.sessions)[self["session"]]
        if filters.since is not None:
            mask &= self["at"] >= filters.since.timestamp()
        if filters.until is not None:
            mask &= self["at"] < filters.until.timestamp()
        if filters.valid_at is not None:
            moment = filters.valid_at.timestamp()
            mask &= (self["valid_from"] <= moment) & (moment < self["valid_to"])
        if filters.cost_at_most is not None:
            mask &= self["cost"] <= filters.cost_at_most
        if filters.importance_at_least is not None:
            mask &= self["importance"] >= filters.importance_at_least
        return mask

    def _sessions(self, wanted: Set[str]) -> "Mask":
        scopes = self.names["scope"].all
        return self.names["session"].among({f"{scope}\0{name}" for scope in scopes for name in wanted})

    def _place(self, row: int) -> tuple[int, int, int]:
        return int(self._arrays["seq"][row]), int(self._arrays["part"][row]), row


def _session(scope: str, name: str | None) -> str | None:
    return None if name is None else f"{scope}\0{name}"


def _attributes(filters: Filters) -> Iterable[tuple[str, Set[str]]]:
    for name in filters.attributes:
        if name not in ATTRIBUTES:
            raise BadInputError(f"attributes: {name!r} is none; there are {', '.join(ATTRIBUTES)}")
    return filters.attributes.items()
