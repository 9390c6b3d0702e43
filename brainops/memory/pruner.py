"""Tool results, reduced before they enter the permanent record.

Most of what a session says is what its tools printed, and nobody needs it again word for word: that a listing was
read matters, its 400 names do not. What is kept is what the next reader would ask for; the whole goes to object
storage, and a reference stays, so nothing is lost.

Redact before pruning: what is cut through the middle of a secret is no longer recognised as one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from brainops.memory.pruner_rules import (
    Call,
    Reducer,
    json_shape,
    reduce_command,
    reduce_file,
    reduce_listing,
    reduce_report,
    reduce_search,
)

LISTING_LIMIT = 500
"""Characters of a listing, or of the hits of a search, that are kept as they are."""

FILE_LIMIT = 2_000
"""Characters of a file, a page or any other text."""

COMMAND_LIMIT = 2_000
"""Characters that a command printed."""

REPORT_LIMIT = 8_000
"""Characters of what another agent reported: those are conclusions, not raw material."""


CHARACTERS_PER_TOKEN = 4
"""By which tokens are estimated, wherever memory counts them."""


def tokens(text: str) -> int:
    """An estimate of the tokens of `text`: its characters / 4, rounded up; within a fifth for English and code."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


@dataclass(frozen=True)
class Pruned:
    """What is kept of a tool result."""

    text: str
    original: bytes | None
    """The whole in UTF-8, when something was left out: store it as an artifact and add an `ArtifactRefPart`."""
    media_type: str
    tokens_before: int
    tokens_after: int
    rule: str
    """Name of the rule; `whole` when nothing was left out."""


@dataclass(frozen=True)
class Rule:
    """How the results of some tools are reduced."""

    name: str
    tools: str
    """A regular expression that the whole tool name matches, in any case; of an MCP tool (`mcp__server__tool`) both
    the whole name and its last part are tried."""
    limit: int
    """Up to so many characters nothing is done."""
    reduce: Reducer
    media_type: str = "text/plain"


DEFAULT_RULES = (
    Rule(
        "listing",
        r"ls|glob|list_?(?:files|dir|directory)|tree|find_?files|directory_tree",
        LISTING_LIMIT,
        reduce_listing,
    ),
    Rule("search", r"grep|rg|search(?:_?files|_?code|_?text)?|code_?search|ripgrep", LISTING_LIMIT, reduce_search),
    Rule(
        "file",
        r"(?:multi)?edit|(?:notebook)?(?:edit|read)|read_?(?:many_?)?files?|view|open_?file|cat|write|(?:edit|write|create)_?file"
        r"|apply_?patch|str_replace.*|web_?fetch|fetch|web_?search|read_?(?:resource|text_?file)",
        FILE_LIMIT,
        reduce_file,
    ),
    Rule(
        "command",
        r"bash|shell|sh|exec(?:_?command)?|run(?:_?(?:command|terminal_?cmd|shell|tests?))?|terminal|bash_?output|local_?shell",
        COMMAND_LIMIT,
        reduce_command,
    ),
    Rule("report", r"task|agent|sub_?agent|dispatch_?agent", REPORT_LIMIT, reduce_report),
)
"""For the usual tools of coding agents. The first that matches is used."""

_GENERIC = Rule("generic", ".*", FILE_LIMIT, reduce_file)

_LISTS = re.compile(r"(?:ls|find|fd|tree|exa|eza|du)\b|git ls-files\b")
_SEARCHES = re.compile(r"(?:grep|egrep|rg|ag|ack)\b|git grep\b")
_SHOWS = re.compile(r"(?:cat|head|tail|less|more|bat|sed -n|nl)\b")
_CHANGES_FOLDER = re.compile(r"(?:\s*cd [^&;|\n]{1,500}(?:&&|;))?\s*(?:sudo\s+)?")


class Pruner:
    """Reduces tool results by rules; immutable."""

    def __init__(self, rules: Sequence[Rule] = DEFAULT_RULES) -> None:
        self._rules = tuple((re.compile(rule.tools, re.IGNORECASE), rule) for rule in rules)

    def with_rule(self, rule: Rule) -> "Pruner":
        """A pruner that tries `rule` first. Raises `re.error` when its `tools` is no regular expression."""
        return Pruner((rule, *(known for _, known in self._rules)))

    def prune(self, tool_name: str, arguments: Mapping[str, JsonValue], text: str) -> Pruned:
        """`text`, the result of the call, as it is to be kept.

        A tool that no rule knows is reduced by size; a long JSON text to its shape, whichever tool gave it. What
        would not become shorter is kept whole.
        """
        rule = self._rule(tool_name, arguments)
        before = tokens(text)
        whole = Pruned(text, None, rule.media_type, before, before, "whole")
        if len(text) <= rule.limit:
            return whole
        shape = json_shape(text) if rule.name in {"generic", "command", "file"} else None
        if shape is not None:
            name, media_type, reduced = "json", "application/json", shape
        else:
            name, media_type, reduced = rule.name, rule.media_type, rule.reduce(Call(tool_name, arguments, text))
        if len(reduced) >= len(text):
            return whole
        return Pruned(reduced, text.encode("utf-8", "surrogatepass"), media_type, before, tokens(reduced), name)

    def _rule(self, tool_name: str, arguments: Mapping[str, JsonValue]) -> Rule:
        names = [tool_name]
        if tool_name.startswith("mcp__"):
            names.append(tool_name.rsplit("__", 1)[-1])
        found = next(
            (rule for pattern, rule in self._rules if any(pattern.fullmatch(name) for name in names)), _GENERIC
        )
        return self._by_command(arguments) or found if found.name == "command" else found

    def _by_command(self, arguments: Mapping[str, JsonValue]) -> Rule | None:
        """A command that lists, searches or shows is treated as the tool for it."""
        command = Call("", arguments, "").command
        skipped = _CHANGES_FOLDER.match(command)
        at = skipped.end() if skipped else 0
        kinds = (("listing", _LISTS), ("search", _SEARCHES), ("file", _SHOWS))
        kind = next((name for name, pattern in kinds if pattern.match(command, at)), None)
        if "|" in command and kind != "search":
            return None
        return next((rule for _, rule in self._rules if rule.name == kind), None)


DEFAULT_PRUNER = Pruner()


def prune(tool_name: str, arguments: Mapping[str, JsonValue], text: str) -> Pruned:
    """`Pruner.prune` with the default rules."""
    return DEFAULT_PRUNER.prune(tool_name, arguments, text)
