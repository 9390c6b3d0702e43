"""A real Docker engine for the session, apart from one that may run on the machine, and containers that tests break."""

import io
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

IMAGE = "brainops-test:1"
PAGE = "well\n"
_APPLETS = (
    "sh",
    "httpd",
    "wget",
    "sleep",
    "echo",
    "chroot",
    "dd",
    "cat",
    "kill",
    "test",
    "touch",
    "rm",
    "true",
    "false",
)
_STARTS_WITHIN_SECONDS = 60.0
_INSTALL = "apt-get install --no-install-recommends docker.io iptables busybox-static"


@dataclass
class DockerEngine:
    """A running engine. Its containers use the machine's own network: ports of theirs are ports of 127.0.0.1."""

    endpoint: str
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None
    client: Any = None
    _made: list[str] = field(default_factory=list[str])

    def start(self) -> None:
        """Start it, or start it again with what it had, and wait until it answers."""
        command = ["dockerd", "--host", self.endpoint, "--bridge=none", "--iptables=false", "--ip6tables=false"]
        command += ["--storage-driver=vfs", "--shutdown-timeout=1", "--log-level=warn"]
        command += ["--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")]
        command += ["--pidfile", str(self.folder / "docker.pid")]
        with (self.folder / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + _STARTS_WITHIN_SECONDS
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as probe:  # the SDK leaves one open for each time that it fails
                    probe.connect(self.endpoint.removeprefix("unix://"))
                self.client = docker.APIClient(base_url=self.endpoint, version="auto", timeout=30)
                self.client.info()
            except (docker.errors.DockerException, OSError):
                said = (self.folder / "dockerd.log").read_text(errors="replace")[-2000:]
                assert self.process.poll() is None, f"dockerd has ended: {said}"
                assert time.monotonic() < deadline, f"dockerd does not answer: {said}"
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Stop the engine, and with it its containers."""
        if self.client is not None:
            self.client.close()
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(10)
        self.process = None

    def release_mounts(self) -> None:
        """Nothing of it stays mounted."""
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for path in sorted((one for one in mounted if one.startswith(str(self.folder))), reverse=True):
            subprocess.run(["umount", "-l", path], check=False)

    def import_image(self, tag: str = IMAGE) -> str:
        """An image of a static busybox, one page and 2 MiB that no other image has, from local files. Answers with its id."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as archive:
            archive.add(_busybox(), "bin/busybox")
            for applet in _APPLETS:
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
            page = tarfile.TarInfo("www/health")
            page.size = len(PAGE)
            archive.addfile(page, io.BytesIO(PAGE.encode()))
            own = tarfile.TarInfo("own")
            own.size = 2 * 2**20
            archive.addfile(own, io.BytesIO(os.urandom(own.size)))
        name, _, version = tag.partition(":")
        self.client.import_image_from_data(made.getvalue(), repository=name, tag=version)
        return str(self.client.inspect_image(tag)["Id"])

    def run(
        self,
        name: str,
        command: list[str],
        *,
        labels: Mapping[str, str] | None = None,
        healthcheck: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        image: str = IMAGE,
        start: bool = True,
        **host: Any,
    ) -> str:
        """Make and start a container, as `docker run -d` does. `host`: see `docker.APIClient.create_host_config`."""
        host_config = self.client.create_host_config(network_mode="host", **host)
        created = self.client.create_container(
            image,
            command,
            name=name,
            labels=dict(labels or {}),
            environment=dict(environment or {}),
            healthcheck=healthcheck,
            host_config=host_config,
        )
        self._made.append(created["Id"])
        if start:
            self.client.start(created["Id"])
        return str(created["Id"])

    def serve(self, name: str, port: int, **how: Any) -> str:
        """A container with a little web server on a port of 127.0.0.1."""
        return self.run(name, ["httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", "/www"], **how)

    def inspect(self, name: str) -> dict[str, Any]:
        return dict(self.client.inspect_container(name))

    def pid(self, name: str) -> int:
        """Of its main process, on this machine."""
        return int(self.inspect(name)["State"]["Pid"])

    def remove_all(self) -> None:
        """Remove every container."""
        for container in self.client.containers(all=True):
            self.client.remove_container(container["Id"], force=True, v=True)


@contextmanager
def running_engine() -> Generator[DockerEngine]:
    """An engine of its own until the block ends. Skips, or with CI=true fails, where none can be started."""
    if missing := _missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"no Docker engine can be started: {missing}")
        pytest.skip(f"no Docker engine can be started: {missing}")
    folder = Path(tempfile.mkdtemp(prefix="bo-docker-", dir="/tmp"))
    folder.chmod(0o711)  # so that it is the socket itself that refuses others
    engine = DockerEngine(f"unix://{folder}/docker.sock", folder)
    try:
        engine.start()
        engine.import_image()
        yield engine
        engine.remove_all()
    finally:
        engine.stop()
        engine.release_mounts()
        shutil.rmtree(folder, ignore_errors=True)


def _missing() -> str:
    if shutil.which("dockerd") is None or shutil.which("busybox") is None:
        return f"install it: {_INSTALL}"
    return "" if os.geteuid() == 0 else "only root may start one"


def _busybox() -> str:
    found = shutil.which("busybox")
    assert found is not None
    return found
