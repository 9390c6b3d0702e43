"""What speaks for and against a statement: whether it still holds, and whether it belongs to the work."""

import re
from datetime import datetime

from brainops.memory.understanding.figures import UNIT_STEMS
from brainops.memory.understanding.model import Act, Speaker, Statement, StatementKind
from brainops.memory.understanding.talk import Message, Talk, begin, subject, values
from brainops.memory.understanding.times import afterwards, moment
from brainops.memory.understanding.words import content

_FIRST = re.compile(
    r"\b(?:(?:my |the |a |as a )?first (?:thought|guess|idea|suspicion|impression|figure|number|version)|the (?:usual|obvious|likely|common|classic) \w+|"
    r"to be safe|smells? of|i'd have|should (?:do|be enough|suffice)|would (?:fit|do|be)|the (?:short|simpl|easi|quick|fast|small|cheap)est (?:way|thing|start|option|path|step)|simplest|easiest|version 1)\b",
    re.IGNORECASE,
)
_BINDS = re.compile(
    r"\b(?:must|never|always|only|nobody|nothing|every|each|rule|stays?|decides?|required|forbidden|may not|not allowed)\b",
    re.IGNORECASE,
)
_FOR_A_TIME = re.compile(
    r"\b(?:until|till|til|while|as long as|for now|for the (?:moment|time being)|temporar\w+|today|tonight|tomorrow|"
    r"this (?:morning|afternoon|evening|week|weekend|month)|over (?:easter|christmas|the weekend)|once|during|freeze|before|not yet|by hand|in the next days?|soon)\b",
    re.IGNORECASE,
)
_AWAITED = re.compile(
    r"\b(?:until|till|til|while|as long as|before|once|when|waits? for|waiting for|unless|as soon as)\b(?P<what>[^,;:.!?]{2,80})",
    re.IGNORECASE,
)
_POINTS = re.compile(r"\b(?:until|till|before|while|after) (?:that|then|it)\b", re.IGNORECASE)
_HOLDS_BACK = re.compile(
    r"\b(?:no|not|nobody|nothing|never|don't|do not|hands off|leaves?|keeps?|stays?|holds?|held|freeze|frozen|only|skip\w*|mute\w*|silence\w*|pause\w*|without|"
    r"untouched|alone|off|instead of|away|ignore|stands? in|on leave)\b",
    re.IGNORECASE,
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATED = re.compile(
    rf"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b\d{{1,2}}(?:st|nd|rd|th)\b|\b{_MONTH} \d|\b\d{{1,2}} {_MONTH}|\d{{4}}-\d\d-\d\d",
    re.IGNORECASE,
)
_REGULAR = re.compile(
    r"\b(?:an?|any|each|every|per) (?:\w+ )?(?:(?:mon|tues|wednes|thurs|fri|satur|sun)?day|week|month)\b|\b\w+days\b",
    re.IGNORECASE,
)
"""What comes again and again, and is not over when one such day is past."""
_RANGE = re.compile(
    rf"\b\d{{1,2}}(?:st|nd|rd|th)? (?:to|till|until|through|-|\u2013) (?P<end>\d{{1,2}}(?:st|nd|rd|th)? (?:of )?{_MONTH})",
    re.IGNORECASE,
)
_SPELL = re.compile(r"\bbetween .{1,20} and |\bfrom .{2,20} (?:to|until|till) ", re.IGNORECASE)
_TELLS_OF_PAST = re.compile(
    r"\b(?:was|were|did|had|\w+ed|went|came|took|began|got|made|saw|found|said)\b", re.IGNORECASE
)
_THING = r"(?:repo\w*|project|customer|client|service|app|product|department|site|ticket|codebase|tenant|account|team|contract|company|branch|group|crew|environment|cluster|system)"
_ELSEWHERE = re.compile(
    rf"\b(?:(?:the |an?)?other {_THING}|(?:different|another|second|separate) (?:{_THING}|topic)|next (?:ticket|topic|customer)|not our(?:s| business)|"
    r"isn't ours|belongs to (?:the |an)other|unrelated|for later:)",
    re.IGNORECASE,
)
_STAGE = re.compile(r"\b(staging|development|dev|production|prod|qa|sandbox)\b", re.IGNORECASE)
_STAGES = {"production": "prod", "development": "dev"}
_NAMED = re.compile(r"[_./:@`-]|[a-z]\d|\d[a-z]")
"""What a name of the work has in it, and a plain word or number has not."""
_UNITS = begin(UNIT_STEMS)
_SAYS_MORE = 2
"""So many words after "then" tell what holds after the end."""
_LONG = 25
"""So many messages later a statement is as old as it gets."""
_ENOUGH = 5
"""So many words that nobody else uses make a statement as particular as more would."""


def evidence(statement: Statement, talk: Talk, prompt: str, now: datetime) -> dict[str, float]:
    """The evidence by name, each from 0 to about 1; `talk` holds the statement. The names are those of `standing.WEIGHTS`."""
    about = subject(statement.text)
    own = begin(content(statement.text))
    message = talk.by_source[statement.source]
    later = talk.messages[message.order + 1 :]
    unanswered = statement.speaker is Speaker.USER and not any(
        own & one.words and _echoes(one, statement) for one in later
    )
    ends = _ends(statement, message, talk, prompt, now)
    elsewhere = _is_elsewhere(statement, message, talk, prompt)
    binds = not elsewhere and not ends["over"] and not ends["past"] and _BINDS.search(statement.text) is not None
    exchange = talk.exchanges[statement.source]
    return {
        "offered": float(statement.act in (Act.PROPOSES, Act.ACCEPTS, Act.GUESSES)),
        "first": float(statement.act is Act.GUESSES or bool(_FIRST.search(statement.text))),
        "binds": float(binds),
        "explains": float(statement.kind is StatementKind.FIX and statement.act is not Act.GUESSES),
        **_other_values(statement, about, later, talk),
        "disowned": max((_hit(words, own, talk) for one in later for words in one.disowned), default=0.0),
        "turned": exchange.turned,
        "turned_by_user": exchange.turned_by_user,
        "settles": exchange.settles,
        "changes": float(message.turns),
        "early": min(1.0, len(later) / _LONG),
        **ends,
        "elsewhere": float(elsewhere),
        "tied": talk.weight(word for word in own if talk.spread[word] > 1) / (talk.weight(own) or 1.0),
        "own_words": 0.0 if elsewhere else min(1.0, sum(talk.spread[word] <= 1 for word in about) / _ENOUGH),
        "unheeded": talk.heeded if unanswered and not binds else 0.0,
        "chatter": talk.heeded if unanswered and _is_idle(message, talk) else 0.0,
    }


def _echoes(message: Message, statement: Statement) -> bool:
    """Whether the assistant answers the statement with that message."""
    return not message.by_user and statement.source in message.first.replies_to


def _only_repeats(message: Message, statement: Statement) -> bool:
    if statement.source not in message.first.replies_to:
        return False
    return message.first.act is Act.ACCEPTS or (not message.by_user and not message.turns)


def _other_values(statement: Statement, about: frozenset[str], later: list[Message], talk: Talk) -> dict[str, float]:
    """How likely a later message gives the same measure, or the thing of the same name, another figure."""
    mine = values(statement.text)
    measured = named = 0.0
    for message in later if mine else ():
        if mine.keys().isdisjoint(message.values) or _only_repeats(message, statement):
            continue
        other = [unit for unit in mine if unit in message.values and not mine[unit] & message.values[unit]]
        if any(unit.startswith("@") for unit in other):
            named = max(named, *(min(1.0, talk.weight([unit[1:]]) / 3.0) for unit in other if unit.startswith("@")))
        if (about - _UNITS) & message.around and any(unit and not unit.startswith("@") for unit in other):
            measured = max(measured, min(1.0, talk.share(message.around, about - _UNITS) + 0.2))
    return {"other_measure": measured, "other_value": named}


def _hit(words: frozenset[str], own: frozenset[str], talk: Talk) -> float:
    return talk.weight(words & own) / (talk.weight(words) + 0.5) if words & own else 0.0


def _ends(statement: Statement, message: Message, talk: Talk, prompt: str, now: datetime) -> dict[str, float]:
    """Whether it was said for a time, and whether that time is over."""
    low = statement.text.lower()
    later = talk.messages[message.order + 1 :]
    for_a_time = statement.expires_at is not None or _FOR_A_TIME.search(low) is not None
    awaited = {word for match in _AWAITED.finditer(low) for word in content(match.group("what"))}
    if not awaited and _POINTS.search(low):
        awaited = set(content(low))
    beginnings = begin(awaited)
    over = bool(awaited & content(prompt)) or any(
        awaited & one.arrived
        for one in later
        if beginnings & one.words and statement.source not in one.first.replies_to
    )
    end = statement.expires_at or _end_of(low, statement.at)
    past = end is not None and statement.at.date() <= end.date() and end < now
    goes_on = len(content(afterwards(statement.text))) >= _SAYS_MORE
    bounded = for_a_time or bool(_HOLDS_BACK.search(low) or _RANGE.search(low) or _SPELL.search(low))
    told = statement.expires_at is None and not _RANGE.search(low) and _TELLS_OF_PAST.search(low) is not None
    past, over = past and not goes_on, over and not goes_on
    if not past and statement.speaker is Speaker.ASSISTANT and bounded:
        past = any(_ended_before(said, low, now) for one in talk.replied(statement) for said in one.statements)
    return {
        "for_a_time": float(for_a_time and _HOLDS_BACK.search(message.text) is not None),
        "over": float(bool(awaited) and over) * (1.0 if _HOLDS_BACK.search(low) else 0.5),
        "past": float(past and bounded and not told),
        "dated": float(past and not bounded and not told),
    }


def _ended_before(said: Statement, low: str, now: datetime) -> bool:
    """Whether what an answer repeats had its end before `now`."""
    end = said.expires_at or _end_of(said.text.lower(), said.at)
    return end is not None and said.at.date() <= end.date() and end < now and bool(subject(said.text) & subject(low))


def _end_of(low: str, at: datetime) -> datetime | None:
    if _REGULAR.search(low):
        return None
    span = _RANGE.search(low)
    if span is not None:
        return moment(span.group("end"), at)
    return moment(low, at) if _DATED.search(low) else None


def _is_elsewhere(statement: Statement, message: Message, talk: Talk, prompt: str) -> bool:
    """Whether it was said of another project, team or stage than the prompt speaks of."""
    answered = [] if statement.speaker is Speaker.USER else talk.replied(statement)
    if any(_ELSEWHERE.search(one.text) for one in (message, *answered)):
        return True
    wanted, named = _stages(prompt), _stages(statement.text)
    return bool(wanted and named and not wanted & named)


def _stages(text: str) -> set[str]:
    named = [match.group().lower() for match in _STAGE.finditer(text)]
    return {_STAGES.get(name, name) for name in named}


def _is_idle(message: Message, talk: Talk) -> bool:
    """Whether nothing in a message is asked for, ruled, left open or named, in words that the work does not use."""
    if message.turns or any(_is_serious(said) for said in message.statements):
        return False
    if any(_NAMED.search(name) for name in message.particular):
        return False
    words = subject(message.text)
    return sum(talk.spread[word] <= 1 for word in words) >= 0.6 * max(1, len(words))


def _is_serious(statement: Statement) -> bool:
    return (
        statement.kind in (StatementKind.CONSTRAINT, StatementKind.PREFERENCE, StatementKind.TODO)
        or statement.act in (Act.REQUESTS, Act.ACCEPTS)
        or statement.expires_at is not None
        or _BINDS.search(statement.text) is not None
    )
