"""Run a command that the configuration declares for the service.

The command is started as services are: by the shim, in a session of its own, once per effect key. So it outlives the
worker that started it, and the next worker finds it again, running or ended, instead of running it twice.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from brainops.config.models import DeclaredCommand, Service
from brainops.config.paths import StatePaths
from brainops.config.runs import CommandRun, ProcessRun
from brainops.contracts.action import ActionResult, RestartService, RunCommand
from brainops.contracts.agent import ActionClass
from brainops.contracts.check import Reason
from brainops.contracts.incident import Candidate, Evidence
from brainops.contracts.service import ExitRecord, ProcessRecord, ServiceStatus
from brainops.errors import ActionError, AmbiguousEffectError, NotAllowedError
from brainops.incidents.signature import failing_reasons
from brainops.remedies.base import Call, Handler, HostTools, Remedy, RemedyContext
from brainops.remedies.declared import refuse_undeclared
from brainops.remedies.permission import is_permitted
from brainops.remedies.reading import not_running
from brainops.services import pidfds, procfs
from brainops.services.process import ProcessAdapter, describe_exit
from brainops.telemetry.redaction import clean

OUTPUT_BYTES = 64 * 1024
_SUMMARY_OUTPUT = 250
_ROTATE_SECONDS = 1.0


def commands_adapter(paths: StatePaths, directory: Path) -> ProcessAdapter:
    """The adapter whose processes are commands, kept apart from the services of the same names."""
    return ProcessAdapter(StatePaths(paths.root / "commands"), directory)


class RunCommandHandler(Handler[RunCommand]):
    """Runs a declared command to its end, and kills all of it at its timeout."""

    action = RunCommand

    def authorize(self, action: RunCommand, call: Call, /) -> None:
        refuse_undeclared((action.command,), call.service.commands, f"services.{action.service}.commands")

    def __init__(self, tools: HostTools) -> None:
        super().__init__(tools)
        self._commands = commands_adapter(tools.paths, tools.directory)

    async def perform(self, action: RunCommand, call: Call, /) -> ActionResult:
        declared = _declared(action, call.service)
        name, as_service = _as_service(action, call.service, declared)
        record = await self._commands.start(name, as_service, call.effect_key)
        if not await self._ended_in_time(name, record, declared):
            await self._commands.stop(name, as_service, expected=record)
            output = await self._keep_output(name, call.effect_key)
            raise ActionError(
                f"{action.command} had not ended after {declared.timeout.total_seconds():.0f} s and was killed: {output}"
            )
        return await self._result(name, as_service, action, call, record)

    async def reconcile(self, action: RunCommand, call: Call, /) -> ActionResult | None:
        declared = _declared(action, call.service)
        name, as_service = _as_service(action, call.service, declared)
        record = await self._commands.happened(name, call.effect_key)
        if record is None:
            return None
        process = procfs.find(record.pid, record.start_ticks)
        if process is not None and not process.ended:
            # performing it again starts nothing: it waits for the end of this run
            return None
        await self._commands.start(name, as_service, call.effect_key)  # a used key: raises if it could not be executed
        return await self._result(name, as_service, action, call, record)

    async def _ended_in_time(self, name: str, record: ProcessRecord, declared: DeclaredCommand) -> bool:
        """Wait for the end, counted from the command's own start, however many workers have waited for it."""
        while True:
            left = declared.timeout.total_seconds() - procfs.age_seconds(record.start_ticks)
            if await pidfds.wait_exact(record.pid, record.start_ticks, max(0.0, min(left, _ROTATE_SECONDS))):
                return True
            if left <= 0:
                return False
            await self._commands.rotate_log(name, 4 * OUTPUT_BYTES)

    async def _result(
        self, name: str, as_service: Service, action: RunCommand, call: Call, record: ProcessRecord
    ) -> ActionResult:
        end = await self._end(name, as_service, record)
        if end is None:
            raise AmbiguousEffectError(
                f"{action.command} was run as process {record.pid} and nobody saw how it ended; look what it did"
            )
        output = await self._keep_output(name, call.effect_key)
        summary = f"{action.command} {describe_exit(end)}{': ' if output else ''}{output}"
        if end.exit_code != 0:
            raise ActionError(summary[:500])
        undo = None
        if not action.undoing and call.service.commands[action.command].undo:
            undo = action.model_copy(update={"undoing": True})
        return ActionResult(ok=True, summary=summary[:500], undo=undo)

    async def _end(self, name: str, as_service: Service, record: ProcessRecord) -> ExitRecord | None:
        """How this run ended; looking at the state gives the shim a moment to write it down."""
        state = await self._commands.state(name, as_service, memory=False)
        if state.process is not None and state.process.effect_key == record.effect_key:
            return state.exit if state.status is ServiceStatus.EXITED else None
        end = self._commands.files(name).ending_of(record)
        return end.record if end is not None else None

    async def _keep_output(self, name: str, effect_key: str) -> str:
        """Keep the redacted output with the effect, and answer with its last line."""
        raw = await asyncio.to_thread(self._commands.tail, name, OUTPUT_BYTES)
        text = clean(raw, OUTPUT_BYTES)
        await self._tools.objects.put(f"commands/{effect_key}.txt", text.encode())
        lines = text.strip().splitlines()
        return lines[-1][:_SUMMARY_OUTPUT] if lines else ""


def _declared(action: RunCommand, service: Service) -> DeclaredCommand:
    declared = service.commands.get(action.command)
    if declared is None or (action.undoing and not declared.undo):
        what = "undo of the command" if action.undoing else "command"
        raise NotAllowedError(
            f"{action.service} declares no {what} {action.command!r}; declare it under services.{action.service}.commands"
        )
    return declared


def _as_service(action: RunCommand, service: Service, declared: DeclaredCommand) -> tuple[str, Service]:
    """The command as the adapter takes it: with the directory and the environment of its service."""
    arguments = declared.undo if action.undoing else declared.run
    name = f"{action.service}.{action.command}{'.undo' if action.undoing else ''}"
    return name, service.model_copy(update={"run": _in_folder_of(service, arguments)})


class RunDeclaredCommand(Remedy):
    """Run a declared command that is for this failure, or for any."""

    name = "run_command"
    action_class = ActionClass.RUN_COMMAND
    cost = 1
    rank = 25
    handlers = (RunCommandHandler,)
    uses = (RunCommand, RestartService)

    def propose(self, evidence: Evidence, service: Service, context: RemedyContext, /) -> Sequence[Candidate]:
        reasons = failing_reasons(evidence) | {evidence.reason}
        return tuple(
            self._candidate(name, declared, evidence, context)
            for name, declared in service.commands.items()
            if is_permitted(f"{self.name}:{name}", service)
            and (not declared.helps_with or reasons.intersection(declared.helps_with))
        )

    def _candidate(self, name: str, declared: DeclaredCommand, evidence: Evidence, context: RemedyContext) -> Candidate:
        actions: list[RunCommand | RestartService] = [RunCommand(service=context.service, command=name)]
        if declared.restart or not_running(evidence):
            actions.append(RestartService(service=context.service))
        if declared.helps_with:
            named: Reason = next(
                reason for reason in declared.helps_with if reason in failing_reasons(evidence) | {evidence.reason}
            )
            return self.candidate(actions, f"{name} is declared to help with {named.value}", variant=name)
        return self.candidate(actions, f"{name} may help, as with any failure", variant=name, cost=3)


def _in_folder_of(service: Service, arguments: tuple[str, ...]) -> ProcessRun:
    """A process that runs where the service itself does, whatever kind that is."""
    run = service.run
    if isinstance(run, ProcessRun):
        return run.model_copy(update={"command": arguments})
    if isinstance(run, CommandRun):
        return ProcessRun(command=arguments, directory=run.directory, environment=run.environment)
    return ProcessRun(command=arguments)
