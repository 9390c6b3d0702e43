"""YAML with the place of every value, and nothing that a hostile file could do to us.

PyYAML's own constructors are not used: they would run into duplicate keys silently, read `2024-01-01` as a date, and
unfold aliases without end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

MAX_BYTES = 1_000_000
"""A larger file is refused: nobody wrote it by hand."""

MAX_DEPTH = 32
MAX_VALUES = 50_000
"""Values of a document after aliases are unfolded (ten aliases of ten aliases of … end here)."""

_LONGEST_NUMBER = 30
_STANDARD_TAG = "tag:yaml.org,2002:"

Path = tuple[str | int, ...]
"""Where a value stands: `("services", "web", "ports", 0)`."""

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


@dataclass(frozen=True)
class Position:
    """A place in the file; both count from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True)
class Fault:
    """Something in the text that is not acceptable YAML."""

    position: Position
    path: Path
    message: str
    remedy: str


@dataclass
class Document:
    """What a text says, and where. `faults` is empty if it could be read in full."""

    value: Plain = None
    keys: dict[Path, Position] = field(default_factory=dict[Path, Position])
    """Where the key of each entry stands; items of a list have no key."""
    values: dict[Path, Position] = field(default_factory=dict[Path, Position])
    faults: list[Fault] = field(default_factory=list[Fault])

    def key_position(self, path: Path) -> Position:
        """Where the key at `path` stands, or the nearest thing around it that stands somewhere."""
        return self.keys.get(path) or self.value_position(path)

    def value_position(self, path: Path) -> Position:
        """Where the value at `path` stands; if it is missing, where the key of what should hold it stands."""
        if path in self.values:
            return self.values[path]
        while path:
            path = path[:-1]
            if path in self.keys:
                return self.keys[path]
            if path in self.values:
                return self.values[path]
        return Position()


def read(text: str) -> Document:
    """Read one YAML document. Never raises: what is wrong is in `faults`, each with its place."""
    document = Document()
    try:
        root = _compose(text)
        if root is not None:
            document.value = _Builder(document).build(root)
    except ReaderError as error:
        document.faults.append(_unreadable_character(text, error))
    except yaml.YAMLError as error:
        document.faults.append(_syntax_fault(error))
    except _TooLargeError:
        document.value = None
        remedy = "use fewer aliases (*name), or write less"
        document.faults.append(Fault(Position(), (), f"the file unfolds to more than {MAX_VALUES} values", remedy))
    return document


class _TooLargeError(Exception):
    """The document unfolds to more values than allowed."""


def _compose(text: str) -> Node | None:
    loader = _BoundedLoader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


class _BoundedLoader(yaml.SafeLoader):
    """Composes nodes to a bounded depth and number; the composer recurses, and would end at Python's own limit."""

    _depth = 0
    _count = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._depth += 1
        self._count += 1
        if self._count > 2 * MAX_VALUES:  # keys are nodes, too
            raise _TooLargeError
        if self._depth > MAX_DEPTH + 1:
            mark = parent.start_mark if parent is not None else None
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} levels deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0
        self._open: set[int] = set()

    def build(self, root: Node) -> Plain:
        """The plain value of the document. Raises _TooLargeError."""
        return self._value(root, ())

    def _value(self, node: Node, path: Path) -> Plain:
        self._count += 1
        if self._count > MAX_VALUES:
            raise _TooLargeError
        self._document.values[path] = _position(node)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._fault(node, path, "contains itself through an alias", "write the value out instead of the alias")
            return None
        self._open.add(id(node))
        try:
            return self._mapping(node, path) if isinstance(node, MappingNode) else self._sequence(node, path)
        finally:
            self._open.discard(id(node))

    def _sequence(self, node: Node, path: Path) -> Plain:
        assert isinstance(node, SequenceNode)  # noqa: S101 - the third kind of three
        self._check_tag(node, path, "seq")
        return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: MappingNode, path: Path) -> Plain:
        self._check_tag(node, path, "map")
        result: dict[str, Plain] = {}
        for key_node, value_node in self._entries(node, path, result):
            if not isinstance(key_node, ScalarNode):
                self._fault(key_node, path, "a key is a list or a mapping", "write a plain word as the key")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if here in self._document.keys:
                first = self._document.keys[here].line
                self._fault(key_node, here, f"{key!r} is given twice, first on line {first}", "keep one of the two")
                continue
            self._document.keys[here] = _position(key_node)
            result[key] = self._value(value_node, here)
        return result

    def _entries(self, node: MappingNode, path: Path, result: dict[str, Plain]) -> Iterator[tuple[Node, Node]]:
        """The mapping's own entries; then those of `<<`, which never replace one of its own."""
        merged: list[tuple[Node, Node]] = []
        for key_node, value_node in node.value:
            if key_node.tag != f"{_STANDARD_TAG}merge":
                yield key_node, value_node
                continue
            sources = value_node.value if isinstance(value_node, SequenceNode) else [value_node]
            for source in sources:
                if isinstance(source, MappingNode):
                    merged.extend(source.value)
                else:
                    self._fault(value_node, path, "'<<' must name a mapping", "write <<: *name of an anchored mapping")
        for key_node, value_node in merged:
            self._count += 1
            if self._count > MAX_VALUES:
                raise _TooLargeError
            if isinstance(key_node, ScalarNode) and str(key_node.value) not in result:
                yield key_node, value_node

    def _scalar(self, node: ScalarNode, path: Path) -> Plain:
        kind = node.tag.removeprefix(_STANDARD_TAG)
        text = str(node.value)
        if kind in ("str", "timestamp", "value", "merge"):
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in ("yes", "true", "on")
        if kind in ("int", "float"):
            return _number(text, kind)
        self._fault(node, path, f"has the tag {node.tag!r}", "write a plain value without a tag")
        return None

    def _check_tag(self, node: Node, path: Path, expected: str) -> None:
        if node.tag != f"{_STANDARD_TAG}{expected}":
            self._fault(node, path, f"has the tag {node.tag!r}", "write a plain value without a tag")

    def _fault(self, node: Node, path: Path, message: str, remedy: str) -> None:
        self._document.faults.append(Fault(_position(node), path, message, remedy))


def _number(text: str, kind: str) -> Plain:
    """The number, or the text itself where YAML 1.1 would be too clever (`22:10` is not 1330) or Python too slow."""
    if len(text) > _LONGEST_NUMBER or ":" in text:
        return text
    digits = text.replace("_", "").lower()
    try:
        if kind == "float":
            return float(digits.replace(".inf", "inf").replace(".nan", "nan"))
        return _whole_number(digits)
    except ValueError:
        return text


def _whole_number(digits: str) -> int:
    sign = -1 if digits.startswith("-") else 1
    bare = digits.lstrip("+-")
    if bare.startswith("0") and len(bare) > 1 and bare[1].isdigit():
        return sign * int(bare, 8)
    return sign * int(bare, 0)


def _position(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _unreadable_character(text: str, error: ReaderError) -> Fault:
    before = text[: error.position]
    position = Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
    return Fault(position, (), "the file holds a character that is not text", "save it as plain UTF-8 text")


def _syntax_fault(error: yaml.YAMLError) -> Fault:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Fault(Position(), (), "the file is not YAML", "write it as YAML")
    mark = error.problem_mark or error.context_mark
    position = Position(mark.line + 1, mark.column + 1) if mark else Position()
    problem = (error.problem or "it cannot be read")[:200]
    if "'\\t'" in problem:
        return Fault(position, (), "a tab indents this line", "indent with spaces; YAML allows no tabs")
    if "nested more than" in problem:
        return Fault(position, (), problem, "write it flatter")
    context = f"{error.context[:200]}: " if error.context else ""
    return Fault(
        position, (), f"not YAML: {context}{problem}", "mend the line, or put a text with special signs in quotes"
    )
