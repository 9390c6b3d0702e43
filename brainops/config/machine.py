"""What a configuration needs of the machine it is used on: programs, folders, variables."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath

from brainops.config.check_rules import find_check_missing
from brainops.config.compose import find_compose_mistakes
from brainops.config.document import Path, Plain
from brainops.config.environment import is_variable_name, references
from brainops.config.mistakes import Finding
from brainops.config.noise import find_noise_missing
from brainops.config.plugins import find_plugin_mistakes
from brainops.config.relations import Values, items, mapping
from brainops.config.units import find_missing_units


def find_missing(root: Plain, directory: FilePath, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Everything that `root` names and this machine has not. `directory`: where the file's relative paths start."""
    yield from find_noise_missing(mapping(root), environment)
    yield from find_missing_units(mapping(mapping(root).get("services")), environment)
    for name, value in mapping(mapping(root).get("services")).items():
        service = mapping(value)
        path = ("services", name)
        yield from _variables(path, service, environment)
        yield from find_plugin_mistakes(path, service)
        for check_name, check in mapping(service.get("checks")).items():
            here = (*path, "checks", check_name)
            yield from find_check_missing(here, mapping(check), directory, environment)
            if mapping(check).get("kind") == "command":
                yield from _program((*here, "run"), items(mapping(check).get("run")), service, directory, directory)
        yield from find_compose_mistakes(path, mapping(service.get("run")), directory)
        working = _working_directory(service, directory)
        if working is None:
            continue
        kind, unseen = _look(working)
        if not stat.S_ISDIR(kind):
            where = (*path, "run", "directory")
            yield Finding(where, f"there is no folder {str(working)[:200]!r}{unseen}", "make it, or name another")
            continue
        for where, command in _commands(path, service):
            yield from _program(where, command, service, working, directory)


def _variables(path: Path, service: Values, environment: Mapping[str, str]) -> Iterator[Finding]:
    for name, value in mapping(mapping(service.get("run")).get("environment")).items():
        for reference in references(value) if isinstance(value, str) else ():
            if is_variable_name(reference) and reference not in environment:
                where = (*path, "run", "environment", name)
                remedy = f"set it where BrainOps is started: export {reference}=…"
                yield Finding(where, f"the variable {reference[:80]} is not set", remedy)


def _working_directory(service: Values, directory: FilePath) -> FilePath | None:
    """The folder that commands run in; None if the file does not say it in a usable way."""
    named = mapping(service.get("run")).get("directory", ".")
    if not isinstance(named, str) or "\0" in named or named.startswith("~"):
        return None
    return directory / named


def _commands(path: Path, service: Values) -> Iterator[tuple[Path, list[Plain]]]:
    run = mapping(service.get("run"))
    for key in ("command", "start", "stop", "status", "restart", "reload"):
        yield (*path, "run", key), items(run.get(key))
    for name, command in mapping(service.get("commands")).items():
        for key in ("run", "undo"):
            yield (*path, "commands", name, key), items(mapping(command).get(key))


def _program(
    where: Path, command: list[Plain], service: Values, working: FilePath, directory: FilePath
) -> Iterator[Finding]:
    program = command[0] if command else None
    if not isinstance(program, str) or not program or "\0" in program:
        return
    if "/" not in program:
        own = mapping(mapping(service.get("run")).get("environment")).get("PATH")
        search = own if isinstance(own, str) and "$" not in own else None
        if shutil.which(program, path=search) is None:
            remedy = "install it, or write the whole path of the program"
            yield Finding((*where, 0), f"there is no program {program[:80]!r} on PATH", remedy)
        return
    target = working / program
    kind, unseen = _look(target)
    if not stat.S_ISREG(kind):
        if not _is_declared(target, service, directory):
            remedy = "correct the path; a relative one starts from run.directory"
            yield Finding((*where, 0), f"there is no program {str(target)[:200]!r}{unseen}", remedy)
    elif not os.access(target, os.X_OK):
        yield Finding((*where, 0), f"{str(target)[:200]!r} may not be executed", f"chmod +x {str(target)[:200]}")


def _look(target: FilePath) -> tuple[int, str]:
    """The mode of what is at a path, 0 for nothing, and what to add where this user may not look."""
    try:
        return target.stat().st_mode, ""
    except PermissionError:
        return 0, " that this user may see: a folder above it may not be entered"
    except OSError:
        return 0, ""


def _is_declared(target: FilePath, service: Values, directory: FilePath) -> bool:
    """Whether BrainOps keeps a good copy of the program: then its absence is a fault that can be healed."""
    paths = (mapping(entry).get("path") for entry in items(service.get("files")))
    return any(
        os.path.normpath(directory / path) == os.path.normpath(target) for path in paths if isinstance(path, str)
    )
