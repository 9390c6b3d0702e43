"""Packages from elsewhere, put where Python finds them: what `uv pip install --target` does, without a network."""

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

TEMPLATE = Path(__file__).parents[2] / "deploy" / "plugin-template"


def install_template(target: Path) -> None:
    """Install the template package into the folder `target`."""
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]
    shutil.copytree(TEMPLATE / "brainops_marker", target / "brainops_marker")
    describe(target, project["name"], project["version"], project["entry-points"])


def describe(target: Path, name: str, version: str, entry_points: Mapping[str, Mapping[str, str]]) -> None:
    """Write the metadata of a package, by which its entry points are found."""
    folder = target / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        line
        for group, points in entry_points.items()
        for line in (f"[{group}]", *(f"{point} = {value}" for point, value in points.items()), "")
    ]
    (folder / "entry_points.txt").write_text("\n".join(lines))
