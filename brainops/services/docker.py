"""Services of kind `docker`: a container each, found by its name."""

from brainops.config.models import Service
from brainops.config.runs import DockerRun
from brainops.services.container_services import ContainerServices
from brainops.services.docker_events import ByName, Selector


class DockerServices(ContainerServices):
    """Containers that somebody has made; BrainOps starts, stops and looks at them."""

    def run_of(self, service: Service) -> DockerRun:
        if not isinstance(service.run, DockerRun):
            raise TypeError(f"a service of kind {service.run.kind} is no container of its own")
        return service.run

    def selector(self, service: Service) -> Selector:
        return ByName(self.run_of(service).container)

    def missing(self, service: Service) -> str:
        name = self.run_of(service).container
        return f"there is no container {name}; make it with docker run or docker compose up"
