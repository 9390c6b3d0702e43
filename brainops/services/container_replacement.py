"""Replacing a container by one that is made anew from its good configuration.

The old one is set aside under another name, with its volumes, until its successor is proven to be good: then it is
removed. Each step can be repeated, so a worker that dies in between leaves nothing that the next one cannot finish.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from brainops.errors import ActionError, UnavailableError
from brainops.services.container_effects import write_private
from brainops.services.container_engine import READ_SECONDS, Engine, EngineClient, EngineRefusedError, Raw, part
from brainops.services.container_facts import Container, read_container
from brainops.services.container_good import EFFECT_LABEL, GoodContainer


class Replaced(BaseModel):
    """A container that was set aside."""

    id: str
    name: str
    """The name that it had."""
    policy: str
    """Its restart policy, which it has not while it stands aside."""
    maximum_retries: int


_REPLACED = TypeAdapter(list[Replaced])


class Replacement:
    """The replacing of one service's containers. `folder`: the service's own in the state folder."""

    def __init__(self, engine: Engine, folder: Path, stop_timeout: timedelta) -> None:
        self._engine = engine
        self._record = folder / "replaced-containers.json"
        self._stop_seconds = max(1, round(stop_timeout.total_seconds()))

    async def made(self, effect_key: str) -> Container | None:
        """The container that an effect has made; None if it has made none."""
        wanted = {"label": [f"{EFFECT_LABEL}={effect_key}"]}
        listed = await self._engine.call(lambda client: client.containers(all=True, filters=wanted))
        return await self._find(listed[0]["Id"]) if listed else None

    async def replace(self, good: GoodContainer, expected: str, effect_key: str) -> Container | None:
        """Have a container as `good` says run under its name; the old one, which stands aside now, if there was one.

        `expected`: id of the one to be replaced, empty for none. Raises ActionError when another one has its name by
        now, the image is gone, or the new one does not start; UnavailableError.
        """
        new = await self.made(effect_key) or await self._make(good, effect_key)
        await self._connect(new, good.made_from(effect_key)[1])
        old = await self._find(good.name)
        aside = next((one for one in self.replaced() if one.name == good.name and one.id == expected), None)
        if old is not None and old.id != new.id:
            if old.id != expected:
                await self._remove(new.id)
                raise ActionError(f"{good.name} is another container by now ({old.short_id}), so it was left alone")
            self._note(old)
            await self._set_aside(old)
        await self._take_name(new, good.name)
        try:
            await self._engine.call(lambda client: client.start(new.id))
        except EngineRefusedError as refusal:
            raise ActionError(f"the new container {good.name} does not start: {refusal}") from None
        if old is not None and old.id != new.id:
            return old
        return await self._find(aside.id) if aside is not None else None

    async def put_back(self, container_id: str) -> str:
        """Undo: the container that stood aside runs under its name again. Answers with a sentence."""
        record = next((one for one in self.replaced() if one.id == container_id), None)
        old = await self._find(container_id) if record is not None else None
        if record is None or old is None:
            raise ActionError(f"the container {container_id[:12]} that was replaced is not kept any more")
        standing = await self._find(record.name)
        if standing is not None and standing.id != old.id:
            await self._remove(standing.id)
        await self._take_name(old, record.name)
        await self._call(_with_policy(old.id, record.policy, record.maximum_retries))
        await self._call(lambda client: client.start(old.id))
        self._forget({old.id})
        return f"put the container {record.name} ({old.short_id}) back"

    def replaced(self) -> list[Replaced]:
        """What stands aside."""
        try:
            return _REPLACED.validate_json(self._record.read_bytes())
        except (FileNotFoundError, ValidationError):
            return []

    async def remove_replaced(self) -> None:
        """Remove what stands aside; volumes are kept. For when its successor is proven to be good."""
        for one in self.replaced():
            await self._remove(one.id)
            self._forget({one.id})

    async def _make(self, good: GoodContainer, effect_key: str) -> Container:
        try:
            await self._engine.call(lambda client: client.inspect_image(good.image_id))
        except EngineRefusedError as refusal:
            raise ActionError(
                f"the image {good.image} ({good.image_id[:19]}) of {good.name} is not on this machine: {refusal}; "
                f"docker pull {good.image}"
            ) from None
        config, _ = good.made_from(effect_key)
        temporary = f"{good.name}.brainops-new-{effect_key[-12:]}"
        created = await self._call(lambda client: client.create_container_from_config(config, temporary))
        new = str(created["Id"])
        made = await self._find(new)
        if made is None:
            raise ActionError(f"the new container {good.name} is gone already; does somebody remove it?")
        return made

    async def _connect(self, new: Container, networks: dict[str, Raw]) -> None:
        """Connect it to the further networks; to those that it is not in yet, if a worker died in between."""
        connected = part(part(new.raw, "NetworkSettings"), "Networks")
        for network, endpoint in networks.items():
            if network not in connected:
                await self._call(_connecting(new.id, network, endpoint))

    async def _set_aside(self, old: Container) -> None:
        """Stopped, under another name, and not to be started by the engine."""
        seconds = self._stop_seconds
        try:
            if old.policy not in ("", "no"):
                await self._engine.call(_with_policy(old.id, "no", 0))
            await self._engine.call(lambda client: client.stop(old.id, timeout=seconds), READ_SECONDS + seconds)
            await self._engine.call(lambda client: client.rename(old.id, f"{old.name}.brainops-old-{old.short_id}"))
        except EngineRefusedError as refusal:
            if not refusal.missing:  # one that removes itself when it stops is as good as set aside
                raise ActionError(f"{old.name} could not be set aside: {refusal}") from None

    async def _take_name(self, container: Container, name: str) -> None:
        if container.name != name:
            await self._call(lambda client: client.rename(container.id, name))

    async def _find(self, container: str) -> Container | None:
        try:
            return read_container(await self._engine.call(lambda client: client.inspect_container(container)))
        except EngineRefusedError as refusal:
            if refusal.missing:
                return None
            raise
        except ValueError as error:
            raise UnavailableError(f"the Docker engine's answer about {container} is not understood: {error}") from None

    async def _remove(self, container_id: str) -> None:
        try:
            await self._engine.call(lambda client: client.remove_container(container_id, force=True))
        except EngineRefusedError as refusal:
            if not refusal.missing:
                raise

    async def _call(self, work: Callable[[EngineClient], Raw | None]) -> Raw:
        return await self._engine.call(work) or {}

    def _note(self, old: Container) -> None:
        kept = [one for one in self.replaced() if one.id != old.id]
        noted = Replaced(id=old.id, name=old.name, policy=old.policy, maximum_retries=old.maximum_retries)
        write_private(self._record, _REPLACED.dump_json([*kept, noted]))

    def _forget(self, ids: set[str]) -> None:
        write_private(self._record, _REPLACED.dump_json([one for one in self.replaced() if one.id not in ids]))


async def forget_replaced(engine: Engine, folder: Path) -> None:
    """The containers of a service are proven to be good: remove what was set aside for them."""
    await Replacement(engine, folder, timedelta(seconds=10)).remove_replaced()


def _with_policy(container_id: str, policy: str, retries: int) -> Callable[[EngineClient], Raw | None]:
    wanted: Raw = {"Name": policy or "no", "MaximumRetryCount": retries if policy == "on-failure" else 0}
    return lambda client: client.update_container(container_id, restart_policy=wanted)


def _connecting(container_id: str, network: str, endpoint: Raw) -> Callable[[EngineClient], None]:
    aliases = endpoint.get("Aliases")
    address = part(endpoint, "IPAMConfig").get("IPv4Address")
    return lambda client: client.connect_container_to_network(
        container_id, network, aliases=aliases, ipv4_address=address
    )
