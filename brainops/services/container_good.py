"""How a container was made while it was proven to be healthy, so that it can be made so again.

What is kept is the engine's own description. Its environment holds secrets: the file is readable by us only, and
nothing of it is ever told but the names of what differs.
"""

import copy
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from brainops.services.container_effects import write_private
from brainops.services.container_engine import Raw, part, parts
from brainops.services.container_facts import Container

EFFECT_LABEL = "brainops.effect"
"""Names the effect that made a container. It is no part of its configuration."""

_SINGLE_MODES = ("host", "none", "container:")
_GIVEN_BY_ENGINE = ("EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address")
_GIVEN_BY_ENGINE_TOO = ("GlobalIPv6PrefixLen", "MacAddress", "NetworkID", "DNSNames")


class GoodContainer(BaseModel):
    """One container as it is to be made again. Any: JSON of the engine."""

    model_config = ConfigDict(frozen=True)

    name: str
    image: str
    image_id: str
    config: dict[str, Any]
    host_config: dict[str, Any]
    networks: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, container: Container) -> "GoodContainer":
        """From what stands."""
        raw = copy.deepcopy(container.raw)
        config = part(raw, "Config")
        if config.get("Hostname") == container.short_id:
            config["Hostname"] = ""  # it was given by the engine
        labels = part(config, "Labels")
        labels.pop(EFFECT_LABEL, None)
        config["Labels"] = labels
        host_config = part(raw, "HostConfig")
        host_config["Binds"] = _binds(raw, host_config)
        networks = cast("dict[str, Raw | None]", part(part(raw, "NetworkSettings"), "Networks"))
        return cls(
            name=container.name,
            image=container.image,
            image_id=container.image_id,
            config=config,
            host_config=host_config,
            networks={name: _endpoint(network or {}, container) for name, network in networks.items()},
        )

    def made_from(self, effect_key: str) -> tuple[Raw, dict[str, Raw]]:
        """What the engine makes it from, and the further networks that it is connected to afterwards."""
        config = copy.deepcopy(self.config)
        # the very image: its name may belong to another one by now
        config["Image"] = self.image_id
        config["Labels"] = {**self.config.get("Labels", {}), EFFECT_LABEL: effect_key}
        config["HostConfig"] = copy.deepcopy(self.host_config)
        mode = str(self.host_config.get("NetworkMode", ""))
        if mode.startswith(_SINGLE_MODES):
            return config, {}
        # older engines take one network only when a container is made
        first = next((name for name in self.networks if name == mode), next(iter(self.networks), None))
        if first is not None:
            config["NetworkingConfig"] = {"EndpointsConfig": {first: self.networks[first]}}
        return config, {name: endpoint for name, endpoint in self.networks.items() if name != first}

    def differences(self, other: "GoodContainer") -> Iterator[str]:
        """Names of what differs in `other`; no values, which may be secrets."""
        if self.image_id != other.image_id:
            yield f"image: another {other.image or 'image'} than the one that was good"
        for key in sorted({*self.config, *other.config} - {"Image"}):
            ours, theirs = self.config.get(key), other.config.get(key)
            if key == "Env":
                yield from (f"environment variable {name}" for name in _differing_variables(ours, theirs))
            elif (ours or None) != (theirs or None):
                yield f"Config.{key}"
        for key in sorted({*self.host_config, *other.host_config}):
            ours, theirs = self.host_config.get(key), other.host_config.get(key)
            if (ours or None) != (theirs or None):
                yield f"HostConfig.{key}"
        if set(self.networks) != set(other.networks):
            yield "networks"


class GoodContainers:
    """The good versions of the containers of one service. `folder`: the service's own in the state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "good-containers"
        self._read: dict[str, tuple[int, GoodContainer | None]] = {}
        self._compared: dict[str, tuple[Container, GoodContainer, tuple[str, ...]]] = {}
        """What was compared last of each name: the same two differ in the same, and a health check asks each second."""

    def keep(self, container: Container) -> bool:
        """Keep how it is made. Whether that is news."""
        good = GoodContainer.of(container)
        if self.find(container.name) == good:
            return False
        write_private(self._file(container.name), good.model_dump_json().encode())
        return True

    def keep_limit(self, container: Container) -> None:
        """What is kept of it is to have its memory limit of now."""
        good = self.find(container.name)
        if good is not None:
            limits = {"Memory": container.memory_limit, "MemorySwap": container.memory_swap}
            changed = good.model_copy(update={"host_config": good.host_config | limits})
            write_private(self._file(container.name), changed.model_dump_json().encode())

    def find(self, name: str) -> GoodContainer | None:
        """How the container of this name was made when it was good; None if that was never kept."""
        path = self._file(name)
        try:
            version = path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        known = self._read.get(name)
        if known is None or known[0] != version:
            known = self._read[name] = (version, _parse(path.read_bytes()))
        return known[1]

    def names(self) -> tuple[str, ...]:
        """Of all containers that are kept."""
        found = (_parse(path.read_bytes()) for path in sorted(self._folder.glob("*.json")))
        return tuple(good.name for good in found if good is not None)

    def drift(self, container: Container) -> tuple[str, ...]:
        """What of a container differs from its good version; nothing if none was kept."""
        good = self.find(container.name)
        if good is None:
            return ()
        known = self._compared.get(container.name)
        if known is None or known[0] is not container or known[1] is not good:
            known = container, good, tuple(sorted(good.differences(GoodContainer.of(container))))
            self._compared[container.name] = known
        return known[2]

    def _file(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"


def good_image_ids(services: Path) -> frozenset[str]:
    """Images of every good container under the state folder's `services`: a container may have to be made of them."""
    found = (_parse(path.read_bytes()) for path in services.glob("*/good-containers/*.json"))
    return frozenset(good.image_id for good in found if good is not None)


def _parse(raw: bytes) -> GoodContainer | None:
    try:
        return GoodContainer.model_validate_json(raw)
    except ValidationError:  # damaged, as a full disk leaves it: nothing is known
        return None


def _binds(raw: Raw, host_config: Raw) -> list[str]:
    """Binds with the volumes that the engine made itself: without their names their content would be lost."""
    binds = [str(bind) for bind in _list(host_config, "Binds")]
    named = {bind.split(":")[1] for bind in binds if ":" in bind}
    named |= {str(mount.get("Target")) for mount in parts(host_config, "Mounts")}
    binds += [
        f"{mount['Name']}:{mount['Destination']}{'' if mount.get('RW', True) else ':ro'}"
        for mount in parts(raw, "Mounts")
        if mount.get("Type") == "volume" and mount.get("Destination") not in named
    ]
    return sorted(binds)


def _endpoint(network: Raw, container: Container) -> Raw:
    given = {*_GIVEN_BY_ENGINE, *_GIVEN_BY_ENGINE_TOO}
    kept = {key: value for key, value in network.items() if key not in given and value}
    aliases = [str(alias) for alias in _list(kept, "Aliases") if alias != container.short_id]
    kept.pop("Aliases", None)
    return {**kept, "Aliases": aliases} if aliases else kept


def _list(raw: Raw, key: str) -> list[object]:
    return cast("list[object]", raw.get(key) or [])


def _differing_variables(ours: object, theirs: object) -> list[str]:
    before, after = _variables(ours), _variables(theirs)
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _variables(entries: object) -> dict[str, str]:
    if not isinstance(entries, list):
        return {}
    pairs = (str(entry).partition("=") for entry in cast("list[object]", entries))
    return {name: hashlib.sha256(json.dumps(value).encode()).hexdigest() for name, _, value in pairs}
