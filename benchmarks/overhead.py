"""What durability costs beside the bare floor of the same server: `python benchmarks/overhead.py --check`.

A step of ours is an update of an agent's life (`AgentWorkflow.pause`) in the stack's own worker: validated, carried
out by one recorded activity that writes Postgres, and durable before it is answered. The floor is an update of an
empty workflow that runs one empty activity, in a worker of this process. The two alternate, through one client.

The history of an incident is that of real ones, each healed with one remedy.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from benchmarks import harness
from benchmarks.floor import FLOOR_QUEUE, FloorWorkflow, running_floor
from brainops.contracts.agent import AgentState, PauseRequest
from brainops.contracts.names import CONTROL_QUEUE
from interfaces.demo.experiment import Experiment
from interfaces.demo.faults import FAULTS
from interfaces.demo.layout import Role, Shop
from interfaces.demo.stage import Stage, removing, running_stack, temporary_folder
from workflows.agent import AgentWorkflow

READY_SECONDS = 60.0
WARM_UP_STEPS = 20


@dataclass
class Measured:
    """Everything that a run saw."""

    steps: list[float] = field(default_factory=list[float])
    floors: list[float] = field(default_factory=list[float])
    events: list[int] = field(default_factory=list[int])
    sizes: list[int] = field(default_factory=list[int])


async def measure(given: argparse.Namespace) -> Measured:
    """Run the whole benchmark."""
    measured = Measured()
    with temporary_folder("overhead") as folder:
        shop = Shop.create(folder / "shop", roles=(Role.API,), prefix="overhead-")
        services = {
            name: declared | {"escalate_after": {"incidents": 1000, "within": "10m"}, "flapping": {"turns": 10_000}}
            for name, declared in shop.declarations().items()
        }
        async with removing([shop]), running_stack(folder, services) as stage:
            await measure_steps(stage, given.steps, measured)
            await measure_histories(stage, shop, given.incidents, measured)
    return measured


async def measure_steps(stage: Stage, count: int, measured: Measured) -> None:
    """Alternate between a step of ours and the floor."""
    client = stage.client
    name = f"benchmark-{uuid4()}"
    await client.start_workflow(AgentWorkflow.run, AgentState(name=name), id=f"agent/{name}", task_queue=CONTROL_QUEUE)
    agent = client.get_workflow_handle(f"agent/{name}")
    async with running_floor(stage.stack.temporal_address):
        await client.start_workflow(FloorWorkflow.run, id=f"floor/{name}", task_queue=FLOOR_QUEUE)
        floor = client.get_workflow_handle(f"floor/{name}")
        paused = False

        async def step() -> None:
            nonlocal paused
            paused = not paused
            # One of the SDK's overloads is partly untyped.
            await agent.execute_update(  # pyright: ignore[reportUnknownMemberType]
                AgentWorkflow.pause, PauseRequest(paused=paused, reason="benchmark")
            )

        async def bare() -> None:
            await floor.execute_update(FloorWorkflow.step)  # pyright: ignore[reportUnknownMemberType]  likewise

        for _ in range(WARM_UP_STEPS):
            await step()
            await bare()
        for _ in range(count):
            measured.steps.append(await timed(step))
            measured.floors.append(await timed(bare))
        await floor.signal(FloorWorkflow.end)
        await floor.result()
    await agent.terminate("the benchmark is over")


async def timed(run: Callable[[], Awaitable[None]]) -> float:
    """Seconds that `run` takes."""
    begun = time.perf_counter()
    await run()
    return time.perf_counter() - begun


async def measure_histories(stage: Stage, shop: Shop, count: int, measured: Measured) -> None:
    """Events and bytes of the histories of `count` crashes that one remedy healed."""
    experiment = Experiment(stage.database, stage.client, shop)
    for number in range(count):
        if missing := await experiment.until_whole(READY_SECONDS):
            raise RuntimeError(f"the shop is not whole: {missing}")
        outcome = await experiment.run(FAULTS["crash"], number + 1)
        if not outcome.good or len(outcome.tried) != 1:
            raise RuntimeError(f"not healed by one remedy: {outcome}")
        history = await stage.client.get_workflow_handle(outcome.workflow_id).fetch_history()
        measured.events.append(len(history.events))
        measured.sizes.append(sum(event.ByteSize() for event in history.events))


def figures(measured: Measured) -> dict[str, float]:
    """The benchmark's figures: medians of the steps, the worst of the histories."""
    step, floor = statistics.median(measured.steps), statistics.median(measured.floors)
    return {
        "step_p50": step,
        "floor_p50": floor,
        "step_over_floor": step / floor,
        "incident_events": max(measured.events),
        "incident_history_bytes": max(measured.sizes),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program. Returns the exit code."""
    parser = harness.arguments("What durability costs beside the bare floor of the same server.")
    parser.add_argument("--steps", type=int, default=300, metavar="N", help="of ours, and as many of the floor")
    parser.add_argument("--incidents", type=int, default=5, metavar="N", help="whose histories are measured")
    given = parser.parse_args(arguments)
    return harness.finish("overhead", figures(asyncio.run(measure(given))), given)


if __name__ == "__main__":
    sys.exit(main())
