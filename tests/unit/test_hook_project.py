"""Which project a folder belongs to."""

import re
import subprocess
from pathlib import Path

import pytest

from brainops.contracts.memory import SCOPE_PATTERN
from interfaces.hooks.project import scope_of_folder, scope_of_name


def repository(folder: Path, *urls: tuple[str, str]) -> Path:
    (folder / ".git").mkdir(parents=True)
    remotes = "".join(f'[remote "{name}"]\n\turl = {url}\n\tfetch = +refs/heads/*\n' for name, url in urls)
    (folder / ".git" / "config").write_text(f'[core]\n\tbare = false\n{remotes}[branch "main"]\n\tremote = origin\n')
    return folder


@pytest.mark.parametrize(
    "url",
    [
        "git@git.example.com:orders/shop.git",
        "https://git.example.com/orders/shop.git",
        "https://mira:word@git.example.com/orders/shop/",
        "ssh://git@git.example.com:2222/orders/shop.git",
        "ssh://git@git.example.com/group/orders/shop",
        "/srv/git/orders/shop.git",
        "../orders/shop",
    ],
)
def test_a_remote_names_the_project(tmp_path: Path, url: str) -> None:
    assert scope_of_folder(str(repository(tmp_path / "x", ("origin", url)))) == "project:orders/shop"


def test_origin_comes_before_other_remotes(tmp_path: Path) -> None:
    folder = repository(tmp_path / "x", ("fork", "https://e.org/me/shop"), ("origin", "https://e.org/us/shop"))
    assert scope_of_folder(str(folder)) == "project:us/shop"
    other = repository(tmp_path / "y", ("upstream", "https://e.org/them/shop"))
    assert scope_of_folder(str(other)) == "project:them/shop"


def test_subfolders_and_worktrees_belong_to_their_repository(tmp_path: Path) -> None:
    main = tmp_path / "shop"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-C", str(main)]
    main.mkdir()
    for arguments in (
        ["init", "-q"],
        ["commit", "-q", "--allow-empty", "-m", "x"],
        ["worktree", "add", "-q", "../tree"],
    ):
        subprocess.run([*git, *arguments], check=True, capture_output=True)
    (main / "src" / "deep").mkdir(parents=True)
    (tmp_path / "tree" / "src").mkdir()
    for folder in (main, main / "src" / "deep", tmp_path / "tree", tmp_path / "tree" / "src"):
        assert scope_of_folder(str(folder)) == "project:shop"
    subprocess.run([*git, "remote", "add", "origin", "https://e.org/us/store.git"], check=True)
    assert scope_of_folder(str(tmp_path / "tree" / "src")) == "project:us/store"


def test_without_git_the_folder_names_the_project(tmp_path: Path) -> None:
    folder = tmp_path / "my notes"
    folder.mkdir()
    assert scope_of_folder(str(folder)) == "project:my-notes"
    assert scope_of_folder("/no/such/place/") == "project:place"


@pytest.mark.parametrize("name", ["", "/", "..", "ünï", "a" * 500, "x\ny", "💥", "-x-", ". /"])
def test_every_name_gives_a_scope(name: str) -> None:
    assert re.fullmatch(SCOPE_PATTERN, scope_of_name(name))
    assert re.fullmatch(SCOPE_PATTERN, scope_of_folder(name))


def test_git_files_that_are_none_do_no_harm(tmp_path: Path) -> None:
    folder = repository(tmp_path / "shop")
    (folder / ".git" / "config").write_bytes(b'[remote "origin"\n url\n[[[\xff\xfe url = \n')
    assert scope_of_folder(str(folder)) == "project:shop"
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / ".git").write_text("gitdir: /no/such/folder\n")
    assert scope_of_folder(str(odd)) == "project:odd"
