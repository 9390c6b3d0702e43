"""Does the next session get back what it needs? `python benchmarks/resume.py STORIES.jsonl --answers OUT.jsonl --check`.

Each story is played to a running memory by the very events that a coding agent's hooks send, in a project of its own:
session start, prompts, tool calls, the assistant's words in a transcript file, session end. Then the next session
begins with its prompt, at its own time. After a story, everything of its project is forgotten.
"""

import argparse
import asyncio
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import cast
from uuid import NAMESPACE_URL, uuid5

from pydantic import JsonValue, ValidationError
from rich.table import Table

from benchmarks import harness
from benchmarks.memory_stage import MemoryStage, memory_alone
from benchmarks.resume_scores import Answer, Event, Session, Story, Verdict, figures, judge
from brainops.contracts.memory import Forget, Restore, Restored, WorkCheck, WorkChecked
from brainops.errors import BadInputError
from interfaces.demo.stage import temporary_folder
from interfaces.hooks.project import scope_of_folder


def read_stories(path: Path) -> list[Story]:
    """The stories of a file. Raises BadInputError naming the line."""
    stories: list[Story] = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                stories.append(Story.model_validate_json(line))
            except ValidationError as error:
                raise BadInputError(f"{path}:{number}: no story: {error.errors()[0]['msg']}") from error
    return stories


class Player:
    """Plays one story as a coding agent would."""

    def __init__(self, stage: MemoryStage, story: Story) -> None:
        self._stage = stage
        self._story = story
        self._project = stage.home / "projects" / story.id
        self._project.mkdir(parents=True)

    async def play(self) -> Answer:
        """All sessions, then the question."""
        for session in self._story.sessions:
            await self._session(session)
        resume = self._story.resume
        scope = scope_of_folder(str(self._project))
        restored = cast(
            "Restored",
            await self._stage.call(
                "session_restore",
                Restore(scope=scope, prompt=resume.prompt, budget_tokens=resume.budget_tokens, at=resume.at),
            ),
        )
        offered = resume.duplicate_work.offered
        checked = cast(
            "WorkChecked",
            await self._stage.call("work_check", WorkCheck(description=offered, scope=scope, at=resume.at)),
        )
        await self._stage.call("forget", Forget(scope=scope, reason="the story is over"))
        return Answer(restored.text, checked.duplicate)

    async def _session(self, session: Session) -> None:
        transcript = self._project / f"{session.id}.jsonl"
        transcript.touch()
        identity = str(uuid5(NAMESPACE_URL, f"{self._story.id}/{session.id}"))

        async def send(name: str, at: datetime, **fields: JsonValue) -> None:
            await self._stage.hook(
                {
                    "hook_event_name": name,
                    "session_id": identity,
                    "transcript_path": str(transcript),
                    "cwd": str(self._project),
                    "at": at.isoformat(),
                    **fields,
                }
            )

        await send("SessionStart", session.at, source="startup")
        last = session.at
        for place, event in enumerate(session.events):
            last = event.at
            if event.role == "user":
                await send("UserPromptSubmit", event.at, prompt=event.text)
            elif event.role == "tool":
                call, _, result = event.text.partition("\n")
                await send(
                    "PostToolUse",
                    event.at,
                    tool_name=event.tool or "tool",
                    tool_input=_input(call),
                    tool_response=result,
                    tool_use_id=f"{identity}/{place}",
                )
            else:
                _say(transcript, identity, place, event)
                await send("Stop", event.at)
        await send("SessionEnd", last, reason="exit")


def _input(call: str) -> dict[str, JsonValue]:
    """The first line of a tool's event as the agent calls it: `$ ls` is a command, the others name what they are about."""
    tool, _, about = call.partition(" ")
    return {{"$": "command", "search": "pattern", "list_files": "path"}.get(tool, "file_path"): about}


def _say(transcript: Path, session: str, place: int, event: Event) -> None:
    """What the assistant says stands in the transcript, as the agent writes it."""
    entry = {
        "type": "assistant",
        "uuid": str(uuid5(NAMESPACE_URL, f"{session}/{place}")),
        "sessionId": session,
        "timestamp": event.at.isoformat(),
        "message": {"role": "assistant", "content": [{"type": "text", "text": event.text}]},
    }
    with transcript.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(entry) + "\n")


async def play_all(stories: list[Story], answers: Path | None) -> list[Verdict]:
    """Play every story against one running memory."""
    verdicts: list[Verdict] = []
    with temporary_folder("resume") as folder:
        async with memory_alone(folder) as stage:
            for number, story in enumerate(stories, 1):
                answer = await Player(stage, story).play()
                verdicts.append(judge(story, answer))
                harness.say(f"{number}/{len(stories)} {story.id}: recall {verdicts[-1].recall:.2f}")
                if answers is not None:
                    _note(answers, story, answer, first=number == 1)
    return verdicts


def _note(answers: Path, story: Story, answer: Answer, *, first: bool) -> None:
    line = {
        "id": story.id,
        "text": answer.text,
        "tokens": -(-len(answer.text) // 4),
        "duplicate": answer.duplicate,
    }
    with answers.open("w" if first else "a", encoding="utf-8") as lines:
        lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def tables(verdicts: list[Verdict]) -> list[Table]:
    """What each story lost and served."""
    table = Table("story", "recall", "lost", "served", title="stories that were not passed")
    for verdict in verdicts:
        wanted, traps = verdict.story.resume.must_include, verdict.story.resume.must_not_include
        lost = [item.fact for item, hit in zip(wanted, verdict.found, strict=True) if not hit]
        served = [f"{item.fact} ({item.why})" for item, hit in zip(traps, verdict.sprung, strict=True) if hit]
        if lost or served:
            table.add_row(verdict.story.id, f"{verdict.recall:.2f}", "\n".join(lost), "\n".join(served))
    return [table]


def main() -> int:
    """Play, judge, print; exit 2 for a file that cannot be read."""
    parser = harness.arguments(__doc__ or "")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("stories", type=Path, metavar="STORIES.jsonl")
    parser.add_argument("--answers", type=Path, metavar="OUT.jsonl", help="write what was injected there")
    given = parser.parse_args()
    try:
        stories = read_stories(given.stories)
    except (OSError, BadInputError) as error:
        harness.say(str(error))
        return 2
    verdicts = asyncio.run(play_all(stories, given.answers))
    for table in tables(verdicts):
        harness.wide_console().print(table)
    return harness.finish("resume", figures(verdicts), given)


if __name__ == "__main__":
    sys.exit(main())
