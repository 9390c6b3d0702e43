"""Read `brainops.yaml`, and tell every mistake at once.

Two kinds of mistakes are told apart. What the text says is checked whenever it is read. What this machine lacks
(a program, a folder, a variable) is checked before anything is started, and not by the processes of a stack that
runs: a program that is deleted while BrainOps works is a fault to be healed, not a reason for a worker to stay away.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from brainops.config.document import MAX_BYTES, Document, read
from brainops.config.machine import find_missing
from brainops.config.mistakes import Finding, Mistake, dotted, located, translate
from brainops.config.models import BrainOpsConfig
from brainops.config.relations import find_contradictions
from brainops.errors import ConfigError

_MOST_TOLD = 100


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration that can be used, and where it came from."""

    config: BrainOpsConfig
    path: Path
    """Absolute path of the file."""

    @property
    def directory(self) -> Path:
        """The folder that relative paths of the file start from."""
        return self.path.parent

    def resolve(self, path: Path) -> Path:
        """`path` as the file means it: absolute, without reading the disk."""
        return self.directory / path


def load_config(path: Path) -> LoadedConfig:
    """Read the file for a stack or a command that is about to start.

    Raises ConfigError, whose message lists every mistake of the file and everything that this machine lacks for it,
    one a line. No value of a variable is in it.
    """
    return _load(path, on_this_machine=True)


def reload_config(path: Path) -> LoadedConfig:
    """Read the file for a process of a stack that runs: as `load_config`, without looking at the machine."""
    return _load(path, on_this_machine=False)


def find_mistakes(path: Path) -> list[Mistake]:
    """Every mistake of the file and everything that this machine lacks for it, in the file's order.

    Raises ConfigError when there is no such file or it cannot be read.
    """
    _, mistakes = _examine(path, on_this_machine=True)
    return mistakes


def check_config(text: str, path: Path) -> list[Mistake]:
    """Every mistake of a file's text, in the file's order. `path`: named in the mistakes; it is not read."""
    _, _, mistakes = _checked(text, str(path))
    return mistakes


def _load(path: Path, *, on_this_machine: bool) -> LoadedConfig:
    config, mistakes = _examine(path, on_this_machine=on_this_machine)
    if mistakes or config is None:
        raise ConfigError(told(mistakes))
    return LoadedConfig(config, path.absolute())


def told(mistakes: Sequence[Mistake]) -> str:
    """All mistakes for a person, one a line; of more than a hundred, the first hundred."""
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    lines = [str(mistake) for mistake in mistakes[:_MOST_TOLD]]
    if len(mistakes) > _MOST_TOLD:
        lines.append(f"… and {len(mistakes) - _MOST_TOLD} more")
    return "\n".join([f"the configuration has {count}:", *(f"  {line}" for line in lines)])


def _examine(path: Path, *, on_this_machine: bool) -> tuple[BrainOpsConfig | None, list[Mistake]]:
    raw = _bytes_of(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return None, [Mistake(str(path), line, 1, "", "the file is not UTF-8 text", "save it as plain UTF-8 text")]
    config, document, mistakes = _checked(text, str(path))
    if on_this_machine:
        missing = find_missing(document.value, path.absolute().parent)
        mistakes = _in_order([*mistakes, *_all_located(missing, document, str(path))])
    return config, mistakes


def _bytes_of(path: Path) -> bytes:
    try:
        if not path.exists():
            raise ConfigError(f"{path} does not exist; name the file, or write a first one with `brainops init`")
        if not path.is_file():
            raise ConfigError(f"{path} is not a file; name the file itself")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}); make it readable for the user of BrainOps"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{str(path)!r} is not a path ({error}); name the file") from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than 1 MB; a configuration is written by hand and far smaller")
    return raw


def _checked(text: str, file: str) -> tuple[BrainOpsConfig | None, Document, list[Mistake]]:
    if len(text) > MAX_BYTES:
        return None, Document(), [Mistake(file, 1, 1, "", "the file is larger than 1 MB", "write less")]
    document = read(text)
    mistakes = [
        Mistake(file, fault.position.line, fault.position.column, dotted(fault.path), fault.message, fault.remedy)
        for fault in document.faults
    ]
    if document.faults and document.value is None:
        return None, document, mistakes
    value = {} if document.value is None else document.value
    config: BrainOpsConfig | None = None
    findings: list[Finding] = []
    try:
        config = BrainOpsConfig.model_validate(value)
    except ValidationError as error:
        findings.extend(translate(error.errors(include_url=False)))
    findings.extend(find_contradictions(value))
    # Where the text itself is at fault the value is lost, and what is said of its absence would mislead.
    lost = {fault.path for fault in document.faults}
    told_once = [finding for finding in findings if finding.path not in lost]
    return config, document, _in_order([*mistakes, *_all_located(told_once, document, file)])


def _all_located(findings: Iterable[Finding], document: Document, file: str) -> list[Mistake]:
    return [located(finding, document, file) for finding in findings]


def _in_order(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """By place, without those that say the same of one place twice."""
    unique = dict.fromkeys(mistakes)
    return sorted(unique, key=lambda mistake: (mistake.line, mistake.column))
