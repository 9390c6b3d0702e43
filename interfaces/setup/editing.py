"""Changes of one value in `brainops.yaml` that leave every other character of it alone.

The new text is read again before it is written: if anything but the wanted value differs, nothing is written.
"""

import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from brainops.config.document import read
from brainops.errors import BadInputError


def set_autonomy(text: str, service: str, value: str) -> str:
    """`text` with `autonomy: value` at a service. Raises BadInputError where that cannot be done line by line."""
    return _with(text, service, "autonomy", value)


def set_run(text: str, service: str, lines: list[str]) -> str:
    """`text` with another `run:` at a service. `lines`: as `first_file.run_lines` makes them.

    Raises BadInputError as `set_autonomy`.
    """
    entry, key_node = _entry(text, service)
    run = _value_of(entry, "run")
    if entry.flow_style or run is None:
        raise BadInputError(_by_hand(service, "run"))
    column = key_node.start_mark.column
    begin = run[0].start_mark.index
    body = "\n".join(
        line.removeprefix("    ") if number == 0 else _indented(line, column) for number, line in enumerate(lines)
    )
    return _checked(text, text[:begin] + body + text[_end(run[1]) :], service, "run")


def save(path: Path, text: str, now: datetime) -> Path:
    """Replace the file at once or not at all, with its mode and owner; the earlier one is kept beside it.

    Returns the path of the copy. Raises BadInputError.
    """
    path = path.resolve()
    copy = path.with_name(f"{path.name}.{now:%Y%m%d-%H%M%S-%f}.bak")
    temporary = path.with_name(f".{path.name}.new")
    try:
        status = path.stat()
        shutil.copy2(path, copy)
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(status.st_mode & 0o7777)
        if os.geteuid() == 0:
            os.chown(temporary, status.st_uid, status.st_gid)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadInputError(f"{path} cannot be changed: {error.strerror}; make its folder writable") from error
    return copy


def _with(text: str, service: str, key: str, value: str) -> str:
    entry, _ = _entry(text, service)
    present = _value_of(entry, key)
    if present is not None:
        _, old = present
        begin = old.start_mark.index
        if isinstance(old, CollectionNode) and not old.flow_style:
            # a block stands on the lines below its key
            begin = text.rindex(":", 0, begin) + 1 if text[:begin].rstrip().endswith(":") else begin
            value = f" {value}"
        return _checked(text, text[:begin] + value + text[_end(old) :], service, key)
    if not entry.value:
        raise BadInputError(_by_hand(service, key))
    first = entry.value[0][0].start_mark
    if entry.flow_style:
        added = f"{key}: {value}, "
        return _checked(text, text[: first.index] + added + text[first.index :], service, key)
    last = _end(entry.value[-1][1])
    line_end = text.find("\n", last)
    line_end = len(text) if line_end < 0 else line_end
    added = f"\n{' ' * first.column}{key}: {value}"
    return _checked(text, text[:line_end] + added + text[line_end:], service, key)


def _entry(text: str, service: str) -> tuple[MappingNode, Node]:
    """The mapping that describes a service, and its first key. Raises BadInputError."""
    if read(text).faults:
        raise BadInputError("the file has mistakes; `brainops config check` tells them")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    services = _value_of(root, "services") if isinstance(root, MappingNode) else None
    entry = _value_of(services[1], service) if services and isinstance(services[1], MappingNode) else None
    if entry is None or not isinstance(entry[1], MappingNode):
        raise BadInputError(f"the file describes no service {service}")
    node = entry[1]
    if node.start_mark.index < entry[0].start_mark.index or not node.value:
        # an alias of a mapping that stands elsewhere: a change there would change others
        raise BadInputError(_by_hand(service, "autonomy"))
    return node, node.value[0][0]


def _value_of(node: Node, key: str) -> tuple[Node, Node] | None:
    if not isinstance(node, MappingNode):
        return None
    return next(
        ((name, value) for name, value in node.value if isinstance(name, ScalarNode) and name.value == key), None
    )


def _end(node: Node) -> int:
    """Where the text of a node ends; a block's own mark stands behind the comments that follow it."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last: Any = node.value[-1]
        return _end(last[1] if isinstance(node, MappingNode) else last)
    return node.end_mark.index


def _indented(line: str, column: int) -> str:
    """A line that was made for a service's column 4, for one whose keys stand at `column`."""
    return " " * max(0, len(line) - len(line.lstrip()) - 4 + column) + line.lstrip()


def _checked(before: str, after: str, service: str, key: str) -> str:
    """`after`, if nothing but `key` of `service` differs. Raises BadInputError."""
    old, new = read(before).value, read(after)
    changed: Callable[[Any], Any] = lambda root: _without(root, service, key)  # noqa: E731 - applied to both
    if new.faults or changed(old) != changed(new.value):
        raise BadInputError(_by_hand(service, key))
    return after


def _without(root: Any, service: str, key: str) -> Any:
    services = dict(root["services"])
    services[service] = {name: value for name, value in services[service].items() if name != key}
    return {**root, "services": services}


def _by_hand(service: str, key: str) -> str:
    return f"services.{service}.{key} cannot be changed without touching what stands around it; write it by hand"
