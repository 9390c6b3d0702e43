"""Which project a folder belongs to: the scope of what is remembered there.

`project:OWNER/NAME` of the git remote, else `project:FOLDER`. The files of git are read, git is not run; a worktree and
a subfolder belong to the project of their repository. Imported by the hook, so: nothing but `os`.
"""

import os

MOST_BYTES = 256 * 1024
"""Of a git configuration that is read."""

LONGEST = 150

_ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./@-")


def scope_of_folder(folder: str) -> str:
    """The scope of a folder on this machine; of its name alone where it does not exist."""
    repository = _repository(folder) if folder else None
    if repository is None:
        return scope_of_name(os.path.basename(folder.rstrip("/")))  # noqa: PTH119
    top, git = repository
    remote = _remote(git)
    return scope_of_name(remote or os.path.basename(top))  # noqa: PTH119


def scope_of_name(name: str) -> str:
    """`project:NAME`, with what a scope may not hold as `-`; `default` for no name."""
    cleaned = "".join(sign if sign in _ALLOWED else "-" for sign in name[:LONGEST]).strip("-./")
    return f"project:{cleaned}" if cleaned else "default"


def _repository(folder: str) -> tuple[str, str] | None:
    """The main working folder and the git folder above `folder`; None outside of a repository."""
    here = os.path.realpath(folder)
    while True:
        git = here + "/.git"
        if os.path.isdir(git):  # noqa: PTH112
            return here, git
        if os.path.isfile(git):  # noqa: PTH113 - a worktree or a submodule: `gitdir: …`
            return _linked(here, git)
        above = os.path.dirname(here)  # noqa: PTH120
        if above == here:
            return None
        here = above


def _linked(here: str, git: str) -> tuple[str, str]:
    named = _read(git).partition("gitdir:")[2].strip()
    own = os.path.normpath(os.path.join(here, named))  # noqa: PTH118
    common = _read(own + "/commondir").strip()
    if not common:  # a submodule: a project of its own
        return here, own
    shared = os.path.normpath(os.path.join(own, common))  # noqa: PTH118
    # Of a bare repository `name.git` the folder itself is the best name that there is.
    top = os.path.dirname(shared) if os.path.basename(shared) == ".git" else shared.removesuffix(".git")  # noqa: PTH119, PTH120
    return top, shared


def _remote(git: str) -> str:
    """`OWNER/NAME` of the remote `origin`, else of the first one; empty without one."""
    found: dict[str, str] = {}
    section = ""
    for line in _read(git + "/config").splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        elif section.startswith('[remote "'):
            key, _, value = stripped.partition("=")
            if key.strip() == "url":
                found.setdefault(section[9:].partition('"')[0], value.strip().strip('"'))
    url = found.get("origin") or next(iter(found.values()), "")
    return _owner_and_name(url)


def _owner_and_name(url: str) -> str:
    path = url.partition("://")[2].partition("/")[2] if "://" in url else url.rpartition(":")[2]
    parts = [
        part for part in path.removesuffix("/").removesuffix(".git").split("/") if part not in {"", ".", "..", "~"}
    ]
    return "/".join(parts[-2:])


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
