"""What BrainOps has done to containers, where the disk does not take it."""

from pathlib import Path

import pytest

from brainops.errors import UnavailableError
from brainops.services.container_effects import ContainerEffects, Effect, write_private


def test_what_the_disk_does_not_take_is_named(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("no folder")
    effects = ContainerEffects(tmp_path / "shop")
    with pytest.raises(UnavailableError, match=r"shop cannot be written: .*; is the disk full\?"):
        effects.write(Effect(effect_key="plan.1.1", previous=()))
    with pytest.raises(UnavailableError, match="cannot be written"):
        write_private(tmp_path / "shop" / "good.json", b"{}")
