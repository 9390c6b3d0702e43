"""What a Compose file says of itself: its project's name and its services. Also what is wrong with it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import cast

import yaml

from brainops.config.document import Path, Plain
from brainops.config.mistakes import Finding, nearest
from brainops.errors import ConfigError

USUAL_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
LARGEST_FILE = 1 << 20
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]")


@dataclass(frozen=True)
class ComposeProject:
    """What several files make together."""

    name: str
    services: tuple[str, ...]
    complete: bool
    """Whether these are all services: a file may include others, which are not read."""


class _Loader(yaml.SafeLoader):
    """Compose has tags of its own (`!reset`, `!override`), of which only the value matters here."""


def _untagged(loader: _Loader, _suffix: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node)
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else None


_Loader.add_multi_constructor("!", _untagged)  # pyright: ignore[reportUnknownMemberType] - untyped


def read_project(files: Sequence[FilePath], declared: str | None = None) -> ComposeProject:
    """Read the files of a project; later ones count more. `declared`: its name, if the file shall not decide.

    Raises ConfigError that names the file, the line where there is one, and the remedy.
    """
    name, services, complete = "", dict[str, None](), True
    for path in files:
        content = _read(path)
        found = content.get("services")
        if found is not None and not isinstance(found, dict):
            raise ConfigError(f"{path}: services is no mapping; write the name of each service and `:` under it")
        services |= dict.fromkeys(str(service) for service in cast("dict[object, object]", found or {}))
        complete = complete and "include" not in content
        name = str(content.get("name") or name)
    name = declared or name or _NOT_IN_NAMES.sub("", files[0].absolute().parent.name.lower()).lstrip("_-")
    if "$" in name:
        raise ConfigError(f"{files[0]}: the project's name {name[:80]!r} is made of variables; write run.project")
    return ComposeProject(name, tuple(services), complete)


def find_compose_mistakes(path: Path, run: Mapping[str, Plain], directory: FilePath) -> Iterator[Finding]:
    """What is wrong with the Compose files of the service at `path` of the configuration."""
    if run.get("kind") != "compose":
        return
    named = run.get("files", ["compose.yaml"])
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    for index, name in enumerate(names):
        if not _is_file(directory / name):
            yield _no_file(path, index if "files" in run else None, directory / name)
            return
    if not names:
        return
    try:
        project = read_project([directory / name for name in names], _text(run.get("project")))
    except ConfigError as error:
        message, _, remedy = str(error).rpartition("; ")
        yield Finding((*path, "run"), message, remedy, at_key=True)
        return
    service = run.get("service")
    if isinstance(service, str) and project.complete and service not in project.services:
        known = ", ".join(project.services[:10]) or "none"
        close = nearest(service, project.services)
        remedy = f"did you mean {close}?" if close else f"it has: {known}"
        yield Finding((*path, "run", "service"), f"{names[-1]} has no service {service[:80]!r}", remedy)


def _read(path: FilePath) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; correct run.files") from None
    if len(raw) > LARGEST_FILE:
        raise ConfigError(f"{path} is larger than 1 MiB; is it a Compose file?")
    try:
        content = yaml.load(raw, _Loader)  # noqa: S506 - a safe loader with tags that mean nothing
    except yaml.YAMLError as error:
        raise ConfigError(_not_yaml(path, error)) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no mapping; it must begin with services:")
    return {str(key): value for key, value in cast("dict[object, object]", content).items()}


def _not_yaml(path: FilePath, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if isinstance(mark, yaml.Mark) else ""
    problem = getattr(error, "problem", None) or "it is no YAML"
    return f"{path}{line}: {problem}; docker compose config tells more"


def _is_file(path: FilePath) -> bool:
    """Whether this user can see a file there: False for a name that is too long, or under a folder not to be entered."""
    try:
        return path.is_file()
    except OSError:
        return False


def _no_file(path: Path, index: int | None, missing: FilePath) -> Finding:
    there = [name for name in USUAL_FILES if _is_file(missing.parent / name)]
    remedy = f"write {there[0]} under run.files" if there else "correct the path; it starts from the folder of the file"
    where: Path = (*path, "run") if index is None else (*path, "run", "files", index)
    return Finding(where, f"there is no Compose file {str(missing)[:200]!r}", remedy, at_key=index is None)


def _text(value: Plain) -> str | None:
    return value if isinstance(value, str) else None
