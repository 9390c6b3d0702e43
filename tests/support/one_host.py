"""One host with one service, for tests of what happens on a host."""

import sys
from dataclasses import dataclass
from pathlib import Path

from agents.system_monitor import CHARTER
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.runs import ProcessRun
from brainops.contracts.agent import Autonomy
from brainops.database.engine import Database
from brainops.remedies.performer import PATIENCE_SECONDS, ActionPerformer
from brainops.services.host import HostServices
from brainops.services.known_good import KnownGoodFiles
from brainops.services.known_good_store import KnownGoodStore
from brainops.services.process import ProcessAdapter
from brainops.storage.objects import ObjectStore

SLEEPER = Service(
    run=ProcessRun(command=(sys.executable, "-S", "-c", "import time; time.sleep(600)")), autonomy=Autonomy.ACT
)


@dataclass
class Host:
    """One host with the service `shop`."""

    adapter: ProcessAdapter
    performer: ActionPerformer
    services: dict[str, Service]

    def starts(self) -> int:
        """How often the service was started."""
        log = self.adapter.files("shop").folder / "starts.log"
        return len(log.read_text().splitlines()) if log.exists() else 0


def one_host(database: Database, folder: Path, patience_seconds: float = PATIENCE_SECONDS) -> Host:
    """A host with its state in `folder`, on which nothing runs yet."""
    paths = StatePaths(folder / "state")
    objects = ObjectStore(paths.objects)
    host = HostServices(paths, folder)
    adapter = host.processes.adapter
    services = {"shop": SLEEPER}
    known_good = KnownGoodFiles(KnownGoodStore(database), objects, folder)
    performer = ActionPerformer(
        host,
        known_good,
        services,
        paths,
        folder,
        objects=objects,
        charter=CHARTER.actions,
        patience_seconds=patience_seconds,
    )
    return Host(adapter, performer, services)
