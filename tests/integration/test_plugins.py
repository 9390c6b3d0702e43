"""Packages from elsewhere: the template is installed and used for real; broken ones are named and stop nothing."""

import importlib
import json
import subprocess
import sys
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from packages import TEMPLATE, describe, install_template

from agents.system_monitor import CHARTER
from brainops.checks.base import Subject
from brainops.checks.probe import Prober
from brainops.config.load import find_mistakes, load_config
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.contracts.action import ActionRequest, PluginAction
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import Reason
from brainops.contracts.incident import Candidate, Evidence
from brainops.contracts.service import ServiceState, ServiceStatus
from brainops.database.engine import Database
from brainops.errors import NotAllowedError
from brainops.remedies.base import RemedyContext
from brainops.remedies.performer import ActionPerformer
from brainops.remedies.registry import candidates, remedies, remedy_names
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.storage.objects import ObjectStore
from brainops.tools.base import ToolContext
from brainops.tools.registry import load_tools

CONFIG = """
services:
  shop:
    run: {kind: external}
    checks:
      marker: {kind: plugin, use: marker_file, options: {path: marker.txt}, conditions: ["[BYTES] > 3"]}
    remedies: {only: [write_marker]}
    autonomy: {plugin: act}
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """A folder in which packages are found, as in the environment of BrainOps."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))  # pyright: ignore[reportUnknownMemberType]  # untyped in pytest
    remedies.cache_clear()
    yield folder
    remedies.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("brainops_marker", "broken_package"))]:
        del sys.modules[name]


@pytest.fixture
def template(packages: Path) -> Path:
    install_template(packages)
    importlib.invalidate_caches()
    return packages


def configured(folder: Path, text: str = CONFIG) -> dict[str, Service]:
    (folder / "brainops.yaml").write_text(text)
    return load_config(folder / "brainops.yaml").config.services


def performer(database: Database, folder: Path, services: dict[str, Service]) -> ActionPerformer:
    paths = StatePaths(folder / "state")
    objects = ObjectStore(paths.objects)
    known_good = KnownGoodFiles(KnownGoodStore(database), objects, folder)
    host = HostServices(paths, folder)
    return ActionPerformer(host, known_good, services, paths, folder, objects=objects, charter=CHARTER.actions)


def proposed(services: dict[str, Service]) -> tuple[Candidate, ...]:
    evidence = Evidence(
        service="shop",
        check="marker",
        reason=Reason.ERROR,
        captured_at=datetime.now(UTC),
        state=ServiceState(service="shop", status=ServiceStatus.UNSEEN),
    )
    return candidates(evidence, services["shop"], RemedyContext("shop", services))


def request(action: PluginAction, action_class: ActionClass = ActionClass.PLUGIN) -> ActionRequest:
    return ActionRequest(plan_id=uuid4(), step=1, action_class=action_class, service="shop", action=action)


def beat() -> None:
    """Nobody waits for it here."""


@pytest.mark.usefixtures("template")
async def test_a_package_sees_the_fault_and_mends_it(database: Database, tmp_path: Path) -> None:
    services = configured(tmp_path)
    check = services["shop"].checks["marker"]
    subject = Subject("shop", "marker", services["shop"])
    host = HostServices(StatePaths(tmp_path / "state"), tmp_path)
    async with Prober(host, tmp_path) as prober:
        missing = await prober.look(subject, check)
        assert (missing.reason, missing.detail) == (Reason.ERROR, "there is no marker file marker.txt")
        (candidate,) = proposed(services)
        assert (candidate.remedy, candidate.action_class) == ("write_marker", ActionClass.PLUGIN)
        acting = performer(database, tmp_path, services)
        action = candidate.actions[0]
        assert isinstance(action, PluginAction)
        asked = request(action)
        assert await acting.reconcile(asked, "plan.1.1") is None
        done = await acting.perform(asked, "plan.1.1", beat)
        assert (done.ok, done.summary) == (True, "wrote marker.txt")
        assert await acting.reconcile(asked, "plan.1.1") is not None
        assert (await prober.look(subject, check)).ok
        (tmp_path / "marker.txt").write_text("x")
        small = await prober.look(subject, check)
        assert (small.reason, small.detail) == (Reason.CONDITION, "[BYTES] is 1, wanted > 3")


@pytest.mark.usefixtures("template")
async def test_the_host_refuses_what_the_package_does_not_take(database: Database, tmp_path: Path) -> None:
    services = configured(tmp_path)
    acting = performer(database, tmp_path, services)

    def action(plugin: str = "write_marker", **arguments: str | int | float | bool) -> PluginAction:
        return PluginAction(service="shop", plugin=plugin, arguments=arguments)

    for refused, why in (
        (request(action(path="/etc/passwd")), "has no marker_file check of that path"),
        (request(action("other", path="marker.txt")), "no part of any plugin remedy"),
        (request(action(path="marker.txt"), ActionClass.RESTART), "no part of any restart remedy"),
        (request(action(path="marker.txt", mode=7)), "does not take this action: mode"),
    ):
        with pytest.raises(NotAllowedError, match=why):
            await acting.perform(refused, "plan.1.1", beat)
    forbidden = configured(tmp_path, CONFIG.replace("only: [write_marker]", "never: [write_marker]"))
    assert proposed(forbidden) == ()
    with pytest.raises(NotAllowedError, match="does not permit write_marker"):
        await performer(database, tmp_path, forbidden).perform(request(action(path="marker.txt")), "plan.1.1", beat)


@pytest.mark.usefixtures("template")
async def test_tools_of_packages_answer(tmp_path: Path) -> None:
    (tmp_path / "marker.txt").write_text("password=hunter2hunter2")
    box = load_tools(ToolContext(tmp_path))
    assert await box.run("read_marker", {"path": "marker.txt"}) == "password=[redacted]"


@pytest.mark.parametrize(
    ("wrong", "line", "message", "remedy"),
    [
        ("use: marker_fil", 6, "no package brings a check 'marker_fil'", "did you mean marker_file?"),
        ("options: {pat: marker.txt}", 6, "is not allowed", "brainops-marker 0.1.0 knows here: path"),
        ("options: {}", 6, "is missing", "knows here: path"),
        ("only: [write_markers]", 7, "there is no remedy 'write_markers'", "did you mean write_marker?"),
    ],
)
@pytest.mark.usefixtures("template")
def test_mistakes_in_the_file_have_their_line(wrong: str, line: int, message: str, remedy: str, tmp_path: Path) -> None:
    key = wrong.partition(":")[0]
    right = {"use": "use: marker_file", "options": "options: {path: marker.txt}", "only": "only: [write_marker]"}[key]
    path = tmp_path / "brainops.yaml"
    path.write_text(CONFIG.replace(right, wrong))
    found = find_mistakes(path)
    told = [one for one in found if message in one.message and remedy in one.remedy]
    assert [one.line for one in told] == [line], found


async def test_a_broken_package_is_named_and_stops_nothing(packages: Path, tmp_path: Path) -> None:
    (packages / "broken_package.py").write_text("raise SystemExit('no token')")
    describe(
        packages,
        "broken-package",
        "2.0",
        {
            "brainops.checks": {"broken": "broken_package:Probe"},
            "brainops.remedies": {"broken_remedy": "broken_package:Remedy", "restart": "json:JSONDecoder"},
            "brainops.tools": {"broken_tool": "broken_package:Tool"},
        },
    )
    importlib.invalidate_caches()
    assert "restart" in remedy_names()
    assert "broken_remedy" not in remedy_names()
    assert load_tools(ToolContext(tmp_path)).tools == {}
    path = tmp_path / "brainops.yaml"
    path.write_text(CONFIG.replace("marker_file", "broken").replace("write_marker", "restart"))
    (mistake,) = find_mistakes(path)
    assert "the check broken of broken-package 2.0 cannot be used: SystemExit: no token" in mistake.message
    assert mistake.remedy == "update or uninstall broken-package"
    shop = Service.model_validate({"run": {"kind": "external"}, "checks": {"m": {"kind": "plugin", "use": "broken"}}})
    async with Prober(HostServices(StatePaths(tmp_path / "state"), tmp_path), tmp_path) as prober:
        seen = await prober.look(Subject("shop", "m", shop), shop.checks["m"])
    assert (seen.ok, seen.reason) == (False, Reason.ERROR)
    assert "no token" in seen.detail


def test_the_command_lists_what_is_installed_and_what_is_broken(template: Path) -> None:
    describe(template, "broken-package", "2.0", {"brainops.tools": {"gone": "no_such_module:Tool"}})
    code = f"import sys; sys.path.insert(0, {str(template)!r}); from interfaces.cli.main import app; app()"
    done = subprocess.run(
        [sys.executable, "-c", code, "plugins", "--json"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)["plugins"]}
    assert [rows[name]["kind"] for name in ("marker_file", "write_marker", "read_marker")] == [
        "check",
        "remedy",
        "tool",
    ]
    assert {name for name, row in rows.items() if not row["usable"]} == {"gone"}
    assert rows["gone"]["problem"].startswith("the tool gone of broken-package 2.0 cannot be used: ModuleNotFoundError")


def test_the_template_passes_its_own_contract_test(template: Path, tmp_path: Path) -> None:
    tests = tmp_path / "template-tests"
    tests.mkdir()
    (tests / "test_contract.py").write_text((TEMPLATE / "tests" / "test_contract.py").read_text())
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir", str(tests)]
    done = subprocess.run(
        [sys.executable, *arguments, str(tests)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tests,
        env={"PYTHONPATH": f"{template}:{Path(__file__).parents[2]}", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout
