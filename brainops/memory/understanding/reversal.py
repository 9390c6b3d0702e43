"""How English takes back what was said: "X is off the table", "throw X out", "not X but Y", "from now on", "veto"."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from brainops.memory.understanding.words import content, numbers, stem

_OBJECT = r"(?P<x>[^,;:.!?—]{2,70})"
_DROPS = re.compile(
    r"\b(?:(?:drop|drops|scrap|forget|abandon|revert|undo|cancel|remove|revoke|kill|ditch|discard|retire|retract|stop with|stop|no more(?! than)|no longer(?! than)|not any more|instead of|rather than|away from|get rid of|got rid of|throw out|move off|replaces|replace|delete|(?:doesn't|does not|don't|do not|won't|will not|didn't|did not) (?:allow|want|accept|permit|support|approve)|forbids|forbade|rejects|rejected|vetoes|vetoed|"
    r"(?:throw|take|pull|rip|kick|roll) (?:out|back|off|away)) (?!from\b|by\b|in\b|at\b|on\b|to\b|it\b)"
    r"|(?:dropped|scrapped|abandoned|reverted|undid|cancelled|canceled|removed|revoked|killed|ditched|discarded|retired|stopped|moved off|replaced|deleted|(?:threw|took|pulled|rolled) (?:out|back|off|away)) (?=the |that |this |our |my |all |`|(?-i:[A-Z])))"
    r"(?:the |that |this |our |my |all |with |of )*" + _OBJECT,
    re.IGNORECASE,
)
_IF = re.compile(r"\b(?:if|when|whenever|unless|where|that|which|who)\b", re.IGNORECASE)
_PASSIVE = re.compile(r"\b(?:is|are|was|were|been|be|being|gets|got)(?: now| all| also)? $", re.IGNORECASE)
_HALF = re.compile(
    r"(?P<x>[^,;:.!?—]{2,60}?) (?:is|was|were|are) (?:only|just|at most) (?:half|part|a part|one part|a symptom|one of)\b",
    re.IGNORECASE,
)
_PARTICLE = re.compile(
    r"\b(?:throw|threw|take|took|taken|pull|pulled|rip|kick|roll|rolled|turn) (?P<x>[^,;:.!?—]{2,50}?) (?:out|back|off|away)\b",
    re.IGNORECASE,
)
_GONE = re.compile(
    r"(?P<x>[^,;:.!?—]{2,70}?) (?:(?:is|are|was|were|has been|have been|gets|will be|must be|should be)(?: now| all| also| both| simply| really| just)? (?:gone|off the table|out of the game|dropped|removed|deleted|dead|cancelled|canceled|reverted|"
    r"rolled back|obsolete|a bad idea|bad|no use|useless|unusable|a mistake|a dead end|wrong|withdrawn|never (?:approved|agreed|true|right|meant)|not (?:approved|needed|possible|it|an option)|no good|no option|no longer \w+|out of the question|ruled out|too \w+|history)"
    r"|(?:goes(?=$|[.,;!])|falls away|won't do|won't fly|doesn't fly|doesn't work|didn't work|never worked)|never (?:was|were) (?:approved|agreed|true|right))(?=$|[ ,.;:!?])",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"(?:(?:^|[,;:—] ?|\b(?:but|so) )not (?:because of |due to |by |in |on |with |from |via |at )?(?:the |a |an |our |their )?|\b(?:is|was|are|were|it's|that's|he's|she's)(?: not|n't) (?:because of |due to |by |in |on |with |from |via |at )?(?:the|a|an|our|their) "
    r"|(?<=\d )not (?=\d)|\w not (?=(?-i:[A-Z])|[\d`]))(?!yet\b|only\b|enough\b|sure\b|more\b|less\b|before\b|until\b|just\b|even\b|all\b|any\b|every|to\b|required|allowed|so\b|too\b|that\b|very\b|now\b|today\b|once\b|a single|one\b|me\b|us\b)(?P<x>[^\s,;:!?—][^,;:!?—]{0,40})",
    re.IGNORECASE,
)
_NO = re.compile(r"\b(?:no|without|never a|never an)\s+((?:\S+\s?){1,3})", re.IGNORECASE)
_FORBIDS = re.compile(
    r"\b(?:do|does|did|will|would|must|may|should|could|can|shall|has|have|had) not\b|n't\b", re.IGNORECASE
)
_CANNOT = re.compile(
    r"(?P<x>[^;:!?—]{0,60}\b(?:can't|cannot|can not|won't work|doesn't work|does not work|didn't work|could not|couldn't|isn't possible)\b[^;:!?—]{0,60})",
    re.IGNORECASE,
)
_LATER = re.compile(r"\b(?:after|when|once|until|before|as soon as|if|hours after|days after)\b", re.IGNORECASE)
WEAK = frozenset(
    stem(word)
    for word in [
        "end",
        "start",
        "stop",
        "run",
        "set",
        "work",
        "need",
        "want",
        "ask",
        "answer",
        "tell",
        "wrote",
        "write",
        "send",
        "sent",
        "day",
        "days",
        "week",
        "month",
        "hour",
        "minute",
        "second",
        "time",
        "times",
        "today",
        "tomorrow",
        "yesterday",
        "morning",
        "evening",
        "night",
        "decide",
        "decided",
        "board",
        "fix",
        "fixed",
        "add",
        "added",
        "done",
        "change",
        "changed",
        "call",
        "called",
        "name",
        "named",
        "move",
        "moved",
        "look",
        "find",
        "found",
        "open",
        "close",
        "thing",
        "things",
        "way",
        "people",
        "somebody",
        "team",
        "ticket",
        "number",
        "value",
        "limit",
        "half",
        "per",
        "percent",
        "page",
        "first",
        "second",
        "third",
        "last",
        "real",
        "whole",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "kind",
        "part",
        "big",
        "small",
        "high",
        "low",
        "good",
        "bad",
        "right",
        "wrong",
        "number",
        "issue",
        "problem",
        "question",
        "note",
        "noted",
        "point",
        "place",
        "case",
        "bit",
        "lot",
        "side",
        "order",
        "step",
        "steps",
        "plan",
        "check",
        "test",
        "tests",
        "please",
        "thank",
        "wait",
        "waits",
        "waiting",
        "until",
        "done",
        "ready",
        "leave",
        "left",
        "whenever",
        "really",
        "somehow",
        "anything",
    ]
)
"""Words that are shared by sentences about different things."""
ANNOUNCES = re.compile(
    r"\b(?:extend(?:ed|s)?|postponed?|resched\w+|brought forward|bring forward|delayed|pushed back|from (?:now|today|tomorrow|monday|here|this week|next week)(?: on)?|as of (?:now|today|tomorrow|monday|\d+ [a-z]+)|any ?more|no longer(?! than)|instead|after all|make (?:it|that) (?:a|the|\d)|change[ds]? (?:it|that|this|to|of|my|the|our)|switch(?:ed|ing)? (?:to|over|from|it)|"
    r"mov(?:e|ed|es|ing) (?:to|from|it|the|over|off)|replac(?:e|ed|es|ing)|retired|successor|takes? over|took over|is called \S+ now|called \S+ now|renamed|decided|new rule|new plan|my fault|my mistake|my bad|"
    r"i was wrong|sorry|correction|scrap|delete ours|turned (?:it|that)? ?(?:off|on)? ?again|(?:off|on|back) again|rolled back|(?<!fall )(?<!falls )(?<!go )(?<!goes )back to|veto|won't|doesn't want|hates?|wants? (?:it|them|us)? ?(?:to|no)\b|"
    r"not .{2,30} but|so (?:it's|it is|it stays)|it stays|better idea|back to (?=v?\d|`)|on second thoughts?|thought about it|slept|sleep over|night's sleep|only half|not the whole|fails again|still fails|still growing|still (?:broken|there|slow))\b|^(?:hm+[,. ]+)?wait\b|^stop\b|^no[,.]|(?:^|[,.;:] )(?:so |then |ok |okay |please |just )*(?:throw|scrap|drop|forget|undo|revert|cancel) (?:it|that|this|them|all that|the whole thing)(?: out| away| again| all)*(?=$|[.,;:!])",
    re.IGNORECASE,
)
TROUBLE = re.compile(
    r"\b(?:corrupts?|corrupted|fails?|failed|crash(?:es|ed)?|breaks?|broke|broken|loses?|lost|slower|starv\w+|late\b|lags?|stalls?|doubles|exceeds?|cracks?|ruins?|tears?|spoils?|overheats?|bad for|is bad|are bad|too (?:slow|big|small|long|short|much|many)|doesn't (?:work|scale|fit|help)|does not (?:work|scale|fit)|didn't (?:work|help)|can't|cannot|won't|refuses?|"
    r"wrong|error|problem|trouble|complain\w*|dies|died|leaks?|hangs?|freezes?|blocked|malformed|times? out)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Disowned:
    """A thing that a sentence takes back."""

    words: frozenset[str]
    as_cause: bool
    """It is denied to be so ("not the X"), which also ends an explanation."""
    in_part: bool
    """It was only half the truth."""
    impossible: bool
    """It cannot be done, which ends only what was planned."""


def disowned(sentence: str) -> Iterator[Disowned]:
    """The things that a sentence takes back."""
    for pattern in (_DROPS, _PARTICLE, _GONE, _NOT, _HALF, _CANNOT):
        for match in pattern.finditer(sentence):
            named = match.group("x")
            if pattern is _DROPS and (_PASSIVE.search(sentence[: match.start()]) or _LATER.search(named)):
                continue
            if pattern is _NOT and _IF.search(sentence[: match.start() + 1]):
                continue
            if pattern is _NOT:
                if _FORBIDS.search(match.group()) and not re.search(r"\b(?:is|was|are|were)n't\b", match.group()):
                    continue
                named = " ".join(named.split()[:4])
                if "but not" in match.group().lower():
                    named = f"{sentence[: match.start()]} {named}"
            words = topic(content(named))
            if pattern is _NOT or (pattern is _GONE and not words):
                words |= numbers(named)
            if words:
                yield Disowned(
                    words,
                    as_cause=pattern is _NOT or pattern is _HALF,
                    in_part=pattern is _HALF,
                    impossible=pattern is _CANNOT,
                )


_MONTHS = frozenset(
    [
        "januari",
        "february",
        "februari",
        "march",
        "april",
        "may",
        "june",
        "juli",
        "july",
        "august",
        "septemb",
        "octob",
        "novemb",
        "decemb",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "oct",
        "nov",
        "dec",
    ]
)


def topic(words: frozenset[str]) -> frozenset[str]:
    """The words that tell what it is about: no figures, no units, no verbs of every day."""
    return frozenset(word for word in words if not word[0].isdigit() and word not in WEAK and word not in _MONTHS)


def negates(text: str, words: frozenset[str]) -> bool:
    """Whether the earlier text itself already took that back."""
    return any(target.words & words for target in disowned(text)) or any(
        content(match.group(1)) & words for match in _NO.finditer(text)
    )
