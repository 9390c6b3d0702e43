"""The contract of a check of a package."""

import asyncio
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from brainops.checks.base import Subject
from brainops.checks.plugin import PackageProbe
from brainops.checks.probe import Prober
from brainops.config.checks import PluginCheck
from brainops.config.models import Service
from brainops.config.paths import StatePaths
from brainops.config.plugins import PluginKind, check_options
from brainops.contracts.check import ProbeResult, Reason
from brainops.plugin_contract.loading import plugin_named, require
from brainops.services.host import HostServices

_UNKNOWN_OPTION = "an_option_that_nobody_declares"
_LOOP_SECONDS = 0.05


async def assert_check_contract(
    name: str, options: dict[str, Any], directory: Path, *, service: Service | None = None, timeout: str = "5s"
) -> ProbeResult:
    """The check loads, reads `options`, refuses unknown ones, answers in time, blocks nobody, and can be asked twice.

    `directory`: where relative paths start. `service`: what is looked at; an external one by default. Answers with
    what the second look saw, for your own assertions. Raises AssertionError.
    """
    plugin = plugin_named(PluginKind.CHECK, name)
    kind = plugin.load()
    if not (isinstance(kind, type) and issubclass(kind, PackageProbe)):
        raise AssertionError(f"{name} must be a subclass of brainops.checks.plugin.PackageProbe")  # noqa: TRY004
    model = check_options(plugin)
    model.model_validate(options)
    try:
        model.model_validate({**options, _UNKNOWN_OPTION: 1})
    except ValidationError:
        pass
    else:
        raise AssertionError(
            f'the options of {name} take what nobody declares; give the model ConfigDict(extra="forbid")'
        )
    check = PluginCheck.model_validate({"kind": "plugin", "use": name, "options": options, "timeout": timeout})
    looked_at = service or Service.model_validate({"run": {"kind": "external"}})
    subject = Subject("contract", "contract", looked_at)
    services = HostServices(StatePaths(directory / ".brainops-state"), directory)
    try:
        async with Prober(services, directory) as prober:
            seen = ProbeResult(ok=True)
            for _ in range(2):
                seen, longest = await _watched(prober.look(subject, check))
                require(
                    not seen.detail.startswith(f"{name} of a package failed"), f"a look must not raise: {seen.detail}"
                )
                require(seen.ok == (seen.reason is Reason.NONE), f"`ok` and `reason` contradict each other: {seen}")
                require(seen.ok or seen.detail, "a failed look says in `detail` what a person would want to read")
                require(longest < 1.0, f"the look blocked everything else for {longest:.1f} s; use asyncio.to_thread")
    finally:
        await services.close()
    return seen


async def _watched(look: Any) -> tuple[ProbeResult, float]:
    """What a look saw, and for how long at a time nothing else could run meanwhile. Any: a coroutine of the probe's."""
    loop = asyncio.get_running_loop()
    longest = 0.0
    ended = asyncio.Event()

    async def tick() -> None:
        nonlocal longest
        while not ended.is_set():
            before = loop.time()
            try:
                async with asyncio.timeout(_LOOP_SECONDS):
                    await ended.wait()
            except TimeoutError:
                longest = max(longest, loop.time() - before - _LOOP_SECONDS)

    ticking = asyncio.create_task(tick())
    try:
        await asyncio.sleep(0)
        return await look, longest
    finally:
        ended.set()
        await ticking
