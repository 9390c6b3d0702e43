"""What plans do with maintenance windows: on the control queue."""

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from activities.recording import recorded
from brainops.config.notify import names
from brainops.contracts.agent import AgentName
from brainops.contracts.maintenance import CloseMaintenance, OpenMaintenance, Window
from brainops.crew.maintenance import MaintenanceStore
from brainops.incidents.store import IncidentStore

_MONITOR = AgentName.SYSTEM_MONITOR
_MOST_TOLD = 1000


class MaintenanceRecords:
    """Opens and closes windows for a plan, such as a deploy that is about to restart a service."""

    def __init__(self, windows: MaintenanceStore, incidents: IncidentStore, client: Client) -> None:
        self._windows = windows
        self._incidents = incidents
        self._client = client

    @activity.defn
    @recorded("open_maintenance", _MONITOR)
    async def open_maintenance(self, request: OpenMaintenance) -> Window:
        """Open a window; the same one again is answered as it stands."""
        return await self._windows.open(request)

    @activity.defn
    @recorded("close_maintenance", _MONITOR)
    async def close_maintenance(self, request: CloseMaintenance) -> Window:
        """Close a window; the open incidents of its services are looked at anew at once."""
        window = await self._windows.close(request)
        await self.tell_incidents(window)
        return window

    async def tell_incidents(self, window: Window) -> int:
        """Have the open incidents that the window covered look again at what they may do; how many there are."""
        rows = await self._incidents.list(limit=_MOST_TOLD, open_only=True)
        covered = [row.workflow_id for row in rows if names(window.services, row.service)]
        for workflow_id in covered:
            try:
                await self._client.get_workflow_handle(workflow_id).signal("reconsider")
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # that one has just ended
                    raise
        return len(covered)
