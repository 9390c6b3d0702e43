"""What the stack's systemd unit grants follows from the file, and systemd itself reads what is written."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from brainops.config.load import LoadedConfig
from brainops.config.models import BrainOpsConfig
from brainops.config.paths import StatePaths
from workers.upkeep.privileges import needed
from workers.upkeep.units import RULES, UNIT, SystemdHost, UnitPlan

DIRECTORY = Path("/srv/shop")


def config(*services: Mapping[str, object], **more: object) -> BrainOpsConfig:
    return BrainOpsConfig.model_validate(
        {"services": {f"s{number}": service for number, service in enumerate(services)}, **more}
    )


NGINX = {"run": {"kind": "systemd", "unit": "nginx.service"}}
CONTAINER = {"run": {"kind": "docker", "container": "shop"}}
PROCESS = {"run": {"kind": "process", "command": ["/bin/true"]}}
ELSEWHERE = {"run": {"kind": "external"}, "checks": {"up": {"kind": "tcp", "port": 80}}}


def no_group(_path: Path) -> None:
    return None


@pytest.mark.parametrize(
    ("file", "groups", "capabilities", "units"),
    [
        (config(ELSEWHERE), (), (), ()),
        (config(PROCESS), (), (), ()),
        (config(CONTAINER), ("docker",), (), ()),
        (config(NGINX), ("systemd-journal",), (), ("nginx.service",)),
        # A unit of the user's own manager needs nobody's leave.
        (config({"run": {"kind": "systemd", "unit": "own.service", "scope": "user"}}), (), (), ()),
        # An engine that is reached over the network has no socket here.
        (config({"run": {"kind": "docker", "container": "a", "endpoint": "tcp://10.0.0.1:2376"}}), (), (), ()),
        (config({**CONTAINER, "priority": "low"}), ("docker",), ("CAP_SYS_NICE",), ()),
        (config({**PROCESS, "may_end": ["leftover"]}), (), ("CAP_KILL",), ()),
        (config(PROCESS, api={"port": 443}), (), ("CAP_NET_BIND_SERVICE",), ()),
    ],
)
def test_exactly_what_the_file_needs_is_granted(
    file: BrainOpsConfig, groups: tuple[str, ...], capabilities: tuple[str, ...], units: tuple[str, ...]
) -> None:
    found = needed(file, DIRECTORY, no_group)
    assert (found.groups, found.capabilities, found.units) == (groups, capabilities, units)
    assert len(found.grants) == len(groups) + len(capabilities) + len(units)


def test_the_group_that_may_read_a_log_is_granted() -> None:
    file = config({**PROCESS, "checks": {"errors": {"kind": "log", "path": "/var/log/nginx/error.log"}}})
    found = needed(file, DIRECTORY, lambda path: "adm" if path == Path("/var/log/nginx/error.log") else None)
    assert found.groups == ("adm",)


def test_memory_of_a_unit_may_be_raised_only_where_a_ceiling_is_declared() -> None:
    raised = {**NGINX, "limits": {"memory": "1GB", "memory_ceiling": "2GB"}}
    assert "set-property" in needed(config(raised), DIRECTORY, no_group).verbs
    assert "set-property" not in needed(config(NGINX), DIRECTORY, no_group).verbs


def plan(tmp_path: Path, file: BrainOpsConfig, state: str = "/var/lib/brainops") -> UnitPlan:
    host = SystemdHost(units=tmp_path / "units", rules=tmp_path / "rules", systemctl=None)
    config_path = tmp_path / 'a "folder" 100%' / "brainops.yaml"
    config_path.parent.mkdir(exist_ok=True)
    config_path.touch()
    return host.plan(LoadedConfig(file, config_path), config_path, StatePaths(Path(state)))


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and "CI" not in os.environ, reason="needs the Debian package systemd"
)
@pytest.mark.parametrize(
    "file",
    [config(ELSEWHERE), config(PROCESS), config(CONTAINER, NGINX), config({**PROCESS, "may_end": ["x"]}, NGINX)],
    ids=["external", "process", "container and unit", "capabilities"],
)
@pytest.mark.parametrize("state", ["/var/lib/brainops", "/srv/brain ops/state"])
def test_systemd_accepts_the_unit(tmp_path: Path, file: BrainOpsConfig, state: str) -> None:
    unit = tmp_path / UNIT
    unit.write_text(plan(tmp_path, file, state).files[tmp_path / "units" / UNIT])
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), unit.read_text()


def test_unit_ends_the_stack_alone_and_comes_back_with_the_machine(tmp_path: Path) -> None:
    text = plan(tmp_path, config(PROCESS)).files[tmp_path / "units" / UNIT]
    for line in (
        "KillMode=process",
        "Restart=on-failure",
        "OOMPolicy=continue",
        "WantedBy=multi-user.target",
        "User=brainops",
    ):
        assert line in text.splitlines()
    assert '100%%/brainops.yaml"' in text


def test_services_that_the_stack_starts_are_not_locked_in_with_it(tmp_path: Path) -> None:
    own = plan(tmp_path, config(PROCESS)).files[tmp_path / "units" / UNIT]
    containers = plan(tmp_path, config(CONTAINER)).files[tmp_path / "units" / UNIT]
    assert "NoNewPrivileges" not in own
    assert "CapabilityBoundingSet" not in own
    assert "NoNewPrivileges=yes" in containers.splitlines()
    assert "CapabilityBoundingSet=" in containers.splitlines()


def test_rule_names_the_declared_units_and_no_other(tmp_path: Path) -> None:
    files = plan(tmp_path, config(NGINX, PROCESS)).files
    text = files[tmp_path / "rules" / RULES]
    assert 'var units = ["nginx.service"];' in text
    assert 'subject.user === "brainops"' in text
    assert tmp_path / "rules" / RULES not in plan(tmp_path, config(PROCESS)).files


def test_program_that_the_user_cannot_reach_is_told_before_anything_is_done(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    config_path = hidden / "brainops.yaml"
    config_path.touch()
    host = SystemdHost(units=tmp_path, rules=tmp_path, systemctl=None)
    found = host.plan(LoadedConfig(config(PROCESS), config_path), config_path, StatePaths(tmp_path))
    assert any("may not enter" in why and "chgrp brainops" in why for why in found.unreachable)
