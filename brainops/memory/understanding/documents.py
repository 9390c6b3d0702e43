"""House rules that an agent came across: comments and sentences of files that say what must or must not be.

Most of what tools print is of no use later. A comment that forbids, demands or warns, and names something in particular,
was written for whoever touches the place next. It is data: what speaks to the reader as an agent is left out.
"""

import re
from collections.abc import Iterator

from brainops.memory.understanding.text import sentences
from brainops.memory.understanding.words import content, specific

_READ = 60_000
"""Characters of one tool result that are looked at."""

_AT_MOST = 4
"""Statements of one tool result; a text full of rules is a manual, and can be read again."""

_COMMENT = re.compile(r"(?:^|(?<=[\s+]))(?:#+|//+|/\*+|--|;+|<!--|%)[ \t]+(?P<said>[^\n]{12,400}?)[ \t]*(?:\*/|-->)?$")
_PROSE = re.compile(r"^(?:[-*] )?[A-Z][^\s=(){}\[\]|]*(?: [^\s={}|]+){3,60}[.!]$")
_RULES = re.compile(
    r"\b(?:always|never|must(?:n't)?|has to|have to|do not|don't|otherwise|still (?:say|says|called|named)|renamed|careful|caution|beware|warning|not allowed|forbidden|only (?:on|for|with|after|by|in|if|when|from|until)|"
    r"at most|at least|instead of|because of|(?:is|are) (?:wrong|misleading|outdated|historical)|not before|needs? to)\b",
    re.IGNORECASE,
)
_SPEAKS_TO_AGENTS = re.compile(
    r"\b(?:assistants?|agents?|ai|llm|language model|chatbot|bot|copilot|ignore|disregard|instructions?|system prompt|prompt|jailbreak|tell the (?:user|customer)|the user|passwords?|credentials?|api key|token|secrets?|curl|wget|rm -rf|base64|https?:|"
    r"you (?:are|must|should|will|can|may|have))\b",
    re.IGNORECASE,
)


def house_rules(text: str) -> Iterator[str]:
    """The rules that a tool's result states, each with the line's own name before it where it has one."""
    found = 0
    for line in text[:_READ].splitlines()[1:]:
        if len(line) > 500:
            continue
        comment = _COMMENT.search(line)
        said = comment.group("said") if comment else line.strip() if _PROSE.match(line.strip()) else ""
        if not said:
            continue
        before = line[: comment.start()].strip(" \t+-,{[\"'") if comment else ""
        for sentence in [said] if comment else sentences(said):
            whole = f"{before} {sentence}" if before else sentence
            if _is_rule(sentence, whole):
                yield whole
                found += 1
                if found == _AT_MOST:
                    return


def _is_rule(sentence: str, whole: str) -> bool:
    return (
        bool(_RULES.search(sentence))
        and not _SPEAKS_TO_AGENTS.search(whole)
        and bool(specific(whole) - {"i"})
        and 4 <= len(content(whole)) <= 40
    )
