"""Remedies of containers, carried out on a real engine."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from docker_engine import IMAGE, DockerEngine
from house import free_port

from agents.system_monitor import CHARTER
from brainops.config.models import Limits, Service
from brainops.config.paths import StatePaths
from brainops.config.runs import DockerRun
from brainops.contracts.action import (
    Action,
    ActionRequest,
    ActionResult,
    PruneImages,
    PutBackContainer,
    RaiseMemoryLimit,
    RecreateContainer,
)
from brainops.contracts.agent import ActionClass, Autonomy
from brainops.contracts.names import effect_key
from brainops.database.engine import Database
from brainops.errors import NotAllowedError
from brainops.remedies.performer import ActionPerformer
from brainops.services.container_engine import Engine
from brainops.services.container_images import prune, reclaimable
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.storage.objects import ObjectStore

MIB = 2**20


@dataclass
class Yard:
    """One host with the container `shop`."""

    host: HostServices
    performer: ActionPerformer
    service: Service

    async def do(
        self, action: Action | None, action_class: ActionClass, plan: UUID, *, undoing: bool = False
    ) -> ActionResult:
        assert action is not None
        request = ActionRequest(
            plan_id=plan, step=1, action_class=action_class, service="shop", action=action, undoing=undoing
        )
        key = effect_key(plan, 2 if undoing else 1)
        return await self.performer.perform(request, key, lambda: None)


@pytest.fixture
async def yard(docker_engine: DockerEngine, database: Database, tmp_path: Path) -> AsyncGenerator[Yard]:
    paths = StatePaths(tmp_path / "state")
    objects = ObjectStore(paths.objects)
    host = HostServices(paths, tmp_path)
    run = DockerRun(kind="docker", container="shop", endpoint=docker_engine.endpoint, stop_timeout=timedelta(seconds=1))
    limits = Limits(memory_ceiling=64 * MIB, disk=1000)
    service = Service(run=run, limits=limits, autonomy=Autonomy.ACT)
    known_good = KnownGoodFiles(KnownGoodStore(database), objects, tmp_path)
    performer = ActionPerformer(
        host, known_good, {"shop": service}, paths, tmp_path, objects=objects, charter=CHARTER.actions
    )
    yield Yard(host, performer, service)
    await host.close()


async def test_a_missing_container_is_made_anew_as_it_was_once_for_a_plan(
    docker_engine: DockerEngine, yard: Yard
) -> None:
    port, plan = free_port(), uuid4()
    docker_engine.serve("shop", port, mem_limit="32m", environment={"PASSWORD": "secret"}, labels={"team": "shop"})
    await yard.host.keep_good("shop", yard.service)
    before = docker_engine.inspect("shop")
    docker_engine.remove_all()
    action = RecreateContainer(service="shop", container_id="")
    result = await yard.do(action, ActionClass.RECREATE, plan)
    assert result.ok, result.summary
    assert result.undo is None
    after = docker_engine.inspect("shop")
    assert after["State"]["Running"]
    assert after["Config"]["Cmd"] == before["Config"]["Cmd"]
    assert after["Config"]["Env"] == before["Config"]["Env"]
    assert after["HostConfig"]["Memory"] == 32 * MIB
    assert (await yard.host.container("shop", yard.service)).drifted == ()  # type: ignore[union-attr]
    assert (await yard.do(action, ActionClass.RECREATE, plan)).ok
    assert docker_engine.inspect("shop")["Id"] == after["Id"]


async def test_a_drifted_container_is_replaced_and_can_be_put_back(docker_engine: DockerEngine, yard: Yard) -> None:
    port, plan = free_port(), uuid4()
    docker_engine.serve("shop", port, environment={"MODE": "good"})
    await yard.host.keep_good("shop", yard.service)
    docker_engine.remove_all()
    drifted = docker_engine.serve(
        "shop", port, environment={"MODE": "bad"}, restart_policy={"Name": "always", "MaximumRetryCount": 0}
    )
    action = RecreateContainer(service="shop", container_id=drifted)
    result = await yard.do(action, ActionClass.RECREATE, plan)
    assert result.ok, result.summary
    assert "MODE=good" in docker_engine.inspect("shop")["Config"]["Env"]
    aside = docker_engine.inspect(drifted)
    assert (aside["State"]["Running"], aside["HostConfig"]["RestartPolicy"]["Name"]) == (False, "no")
    assert result.undo == PutBackContainer(service="shop", container_id=drifted)
    undone = await yard.do(result.undo, ActionClass.RECREATE, plan, undoing=True)
    assert undone.ok, undone.summary
    back = docker_engine.inspect("shop")
    assert (back["Id"], back["State"]["Running"]) == (drifted, True)
    assert back["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert len(docker_engine.client.containers(all=True)) == 1


async def test_a_container_whose_successor_does_not_start_can_be_put_back(
    docker_engine: DockerEngine, yard: Yard, tmp_path: Path
) -> None:
    port, plan, bound = free_port(), uuid4(), tmp_path / "bound"
    bound.write_text("a file")
    docker_engine.serve("shop", port, binds=[f"{bound}:/own"])
    await yard.host.keep_good("shop", yard.service)
    docker_engine.remove_all()
    bound.unlink()
    bound.mkdir()  # a folder cannot be mounted where the image has a file
    drifted = docker_engine.serve("shop", port, environment={"MODE": "bad"})
    action = RecreateContainer(service="shop", container_id=drifted)
    result = await yard.do(action, ActionClass.RECREATE, plan)
    assert not result.ok
    assert "does not start" in result.summary
    assert result.undo == PutBackContainer(service="shop", container_id=drifted)
    assert (await yard.do(result.undo, ActionClass.RECREATE, plan, undoing=True)).ok
    back = docker_engine.inspect("shop")
    assert (back["Id"], back["State"]["Running"]) == (drifted, True)
    assert len(docker_engine.client.containers(all=True)) == 1


async def test_what_was_set_aside_is_removed_once_its_successor_is_proven(
    docker_engine: DockerEngine, yard: Yard
) -> None:
    first = docker_engine.serve("shop", free_port())
    await yard.host.keep_good("shop", yard.service)
    result = await yard.do(RecreateContainer(service="shop", container_id=first), ActionClass.RECREATE, uuid4())
    assert result.ok, result.summary
    assert len(docker_engine.client.containers(all=True)) == 2
    await yard.host.keep_good("shop", yard.service)
    assert [one["Names"] for one in docker_engine.client.containers(all=True)] == [["/shop"]]


async def test_a_container_of_which_nothing_good_was_kept_is_left_alone(
    docker_engine: DockerEngine, yard: Yard
) -> None:
    made = docker_engine.serve("shop", free_port())
    result = await yard.do(RecreateContainer(service="shop", container_id=made), ActionClass.RECREATE, uuid4())
    assert not result.ok
    assert "no good configuration of the container of shop was kept" in result.summary
    assert docker_engine.inspect("shop")["Id"] == made


async def test_another_container_of_that_name_is_left_alone(docker_engine: DockerEngine, yard: Yard) -> None:
    docker_engine.serve("shop", free_port())
    await yard.host.keep_good("shop", yard.service)
    docker_engine.remove_all()
    other = docker_engine.serve("shop", free_port())
    result = await yard.do(RecreateContainer(service="shop", container_id=""), ActionClass.RECREATE, uuid4())
    assert "is another container by now" in result.summary
    assert [one["Id"] for one in docker_engine.client.containers(all=True)] == [other]


async def test_a_memory_limit_is_raised_to_the_ceiling_and_no_further(docker_engine: DockerEngine, yard: Yard) -> None:
    docker_engine.serve("shop", free_port(), mem_limit="32m")
    await yard.host.keep_good("shop", yard.service)
    action, plan = RaiseMemoryLimit(service="shop", limit_bytes=48 * MIB), uuid4()
    result = await yard.do(action, ActionClass.RAISE_LIMIT, plan)
    assert result.ok, result.summary
    host_config = docker_engine.inspect("shop")["HostConfig"]
    assert (host_config["Memory"], host_config["MemorySwap"]) == (48 * MIB, (48 + 32) * MIB)
    assert (await yard.host.container("shop", yard.service)).drifted == ()  # type: ignore[union-attr]
    assert result.undo == RaiseMemoryLimit(service="shop", limit_bytes=32 * MIB)
    with pytest.raises(NotAllowedError, match="a limit is only raised"):
        await yard.do(RaiseMemoryLimit(service="shop", limit_bytes=8 * MIB), ActionClass.RAISE_LIMIT, uuid4())
    with pytest.raises(NotAllowedError, match=r"change services\.shop\.limits\.memory_ceiling"):
        await yard.do(RaiseMemoryLimit(service="shop", limit_bytes=65 * MIB), ActionClass.RAISE_LIMIT, uuid4())
    assert (await yard.do(result.undo, ActionClass.RAISE_LIMIT, plan, undoing=True)).ok
    assert docker_engine.inspect("shop")["HostConfig"]["Memory"] == 32 * MIB


async def test_images_are_pruned_to_a_target_but_none_that_a_container_uses(docker_engine: DockerEngine) -> None:
    docker_engine.run("stopped", ["true"])
    dangling, old = docker_engine.import_image("old:1"), docker_engine.import_image("old:1")
    kept = docker_engine.import_image("kept:1")
    facts = await reclaimable(docker_engine.endpoint, 5)
    assert [(one.kind, one.target_bytes) for one in facts] == [("images", 5)]
    assert facts[0].bytes > MIB
    engine = Engine(docker_engine.endpoint)
    try:
        young = await prune(engine, 0, frozenset(), now=datetime.now(UTC))
        assert young.startswith("removed 0 images")
        enough = 10**12
        assert "removed 0 images" in await prune(engine, enough, frozenset(), now=datetime.now(UTC))
        later = datetime.now(UTC) + timedelta(days=1)
        summary = await prune(engine, 0, frozenset({kept}), now=later)
    finally:
        await engine.close()
    left = {image["Id"] for image in docker_engine.client.images(all=True)}
    used = docker_engine.client.inspect_image(IMAGE)["Id"]
    assert left == {kept, used}
    assert not left & {dangling, old}
    assert "removed 2 images" in summary
    assert "nothing more may be removed" in summary
    docker_engine.client.remove_image("kept:1")


async def test_pruning_below_what_is_declared_is_refused(yard: Yard) -> None:
    with pytest.raises(NotAllowedError, match=r"change services\.shop\.limits\.disk"):
        await yard.do(PruneImages(service="shop", target_bytes=999), ActionClass.PRUNE_IMAGES, uuid4())


_AS_NOBODY = """
import asyncio, os, sys
from brainops.errors import UnavailableError
from brainops.services.container_engine import Engine

async def main():
    engine = Engine(sys.argv[1])
    await engine.call(lambda client: client.df())
    await engine.close()
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    try:
        await Engine(sys.argv[1]).call(lambda client: client.df())
    except UnavailableError as error:
        print(error)

asyncio.run(main())
"""


async def test_a_socket_without_permission_names_user_socket_and_remedy(docker_engine: DockerEngine) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _AS_NOBODY, docker_engine.endpoint, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    path = docker_engine.endpoint.removeprefix("unix://")
    assert f"the user nobody may not use the Docker socket {path}; " in said.decode()
    assert "start BrainOps" in said.decode()
