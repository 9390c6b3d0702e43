"""When a temporary arrangement ends, read from English relative to when it was said."""

import re
from calendar import monthrange
from datetime import datetime, timedelta

_MONTHS = {
    name: number
    for number, names in enumerate(
        [
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sept sep",
            "october oct",
            "november nov",
            "december dec",
        ],
        1,
    )
    for name in names.split()
}
_DAYS = {
    name: number
    for number, names in enumerate(
        [
            "monday mon",
            "tuesday tue tues",
            "wednesday wed",
            "thursday thu thurs",
            "friday fri",
            "saturday sat",
            "sunday sun",
        ]
    )
    for name in names.split()
}
_COUNTS = {
    "a": 1,
    "an": 1,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "ten": 10,
    "fourteen": 14,
    "couple of": 2,
    "few": 3,
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_DAY = "|".join(sorted(_DAYS, key=len, reverse=True))
_COUNT = r"\d{1,3}|" + "|".join(sorted(_COUNTS, key=len, reverse=True))

_ISO = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th|\.)?(?: of)? ({_MONTH})\b\.?(?:,? (\d{{4}}))?")
_MONTH_DAY = re.compile(rf"\b({_MONTH})\.? (\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:,? (\d{{4}}))?")
_ORDINAL = re.compile(rf"\b(?:(?:{_DAY}),? )?(?:the )?(\d{{1,2}})(?:st|nd|rd|th)\b(?! of)")
_WEEKDAY = re.compile(rf"\b(next |this |coming )?({_DAY})\b")
_END_OF = re.compile(rf"\bend of (?:the |this )?(next )?(day|week|month|quarter|year|{_MONTH})\b")
_PART_OF = re.compile(rf"\b(mid|early|late)[- ](?:of )?({_MONTH})\b")
_IN_COUNT = re.compile(
    rf"\b(?:in|for|another|for another|for the next|over the next|the next) ({_COUNT}) (hour|day|week|month)s?\b"
)
_RELATIVE = re.compile(
    r"\b(today|tonight|tomorrow|this (?:morning|afternoon|evening|week|weekend|month|year)|the weekend|next (?:week|month|year))\b"
)
_MONTH_ALONE = re.compile(rf"\b({_MONTH})\b")
_CLOCK = re.compile(r"\b(\d{1,2})(?::(\d\d)| ?(am|pm|o'clock))(?!\w)|\b(noon|midday|midnight)\b")

_WITHIN = 48
"""So many characters after "until" the date must begin: "until the inventory on 12 June"."""


def moment(text: str, at: datetime) -> datetime | None:
    """The first day or hour that `text` names, its end, seen from `at`; None where it names none."""
    found = _day(text, at)
    clock = _CLOCK.search(text)
    if clock is None or (found is not None and clock.start() - found[1] > 12):
        return found[0] if found else None
    hour = {"noon": 12, "midday": 12, "midnight": 24}.get(clock.group(4) or "") or _hour(clock)
    if hour is None:
        return found[0] if found else None
    day = found[0] if found else at
    return day.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(
        hours=hour, minutes=int(clock.group(2) or 0)
    )


def _hour(clock: re.Match[str]) -> int | None:
    if clock.group(1) is None:
        return None
    hour = int(clock.group(1)) % 12 + 12 if clock.group(3) == "pm" else int(clock.group(1))
    return hour if hour <= 24 and int(clock.group(2) or 0) < 60 else None


def _day(text: str, at: datetime) -> tuple[datetime, int] | None:
    """The end of the first day named, and where its name ends."""
    candidates: list[tuple[int, int, datetime]] = []
    for pattern, read in _READERS:
        match = pattern.search(text)
        if match and (day := read(match, at)):
            candidates.append((match.start(), -match.end(), day))
    if not candidates:
        return None
    _, end, day = min(candidates)
    return day.replace(hour=23, minute=59, second=59, microsecond=0), -end


def _date(at: datetime, year: int | None, month: int, day: int) -> datetime | None:
    """That day; without a year the one nearest, rather ahead than behind."""
    try:
        if year:
            return at.replace(year=year, month=month, day=day)
        near = at.replace(month=month, day=day)
        if near < at - timedelta(days=30):
            return near.replace(year=at.year + 1)
        return near.replace(year=at.year - 1) if near > at + timedelta(days=335) else near
    except ValueError:
        return None


def _month_end(at: datetime, year: int, month: int) -> datetime:
    return at.replace(year=year, month=month, day=monthrange(year, month)[1])


def _iso(match: re.Match[str], at: datetime) -> datetime | None:
    return _date(at, int(match.group(1)), int(match.group(2)), int(match.group(3)))


def _day_month(match: re.Match[str], at: datetime) -> datetime | None:
    return _date(at, int(match.group(3) or 0) or None, _MONTHS[match.group(2)], int(match.group(1)))


def _month_day(match: re.Match[str], at: datetime) -> datetime | None:
    return _date(at, int(match.group(3) or 0) or None, _MONTHS[match.group(1)], int(match.group(2)))


def _ordinal(match: re.Match[str], at: datetime) -> datetime | None:
    day = int(match.group(1))
    for months in (0, 1, 2):
        month = at.month - 1 + months
        try:
            found = at.replace(year=at.year + month // 12, month=month % 12 + 1, day=day)
        except ValueError:
            continue
        if found >= at.replace(hour=0, minute=0):
            return found
    return None


def _weekday(match: re.Match[str], at: datetime) -> datetime | None:
    ahead = (_DAYS[match.group(2)] - at.weekday()) % 7
    if (match.group(1) or "").strip() == "next" and _DAYS[match.group(2)] >= at.weekday():
        ahead += 7
    return at + timedelta(days=ahead)


def _end_of(match: re.Match[str], at: datetime) -> datetime | None:
    later, unit = bool(match.group(1)), match.group(2)
    if unit == "day":
        return at + timedelta(days=int(later))
    if unit == "week":
        return at + timedelta(days=6 - at.weekday() + 7 * later)
    if unit == "month":
        month = at.month - 1 + later
        return _month_end(at, at.year + month // 12, month % 12 + 1)
    if unit == "quarter":
        month = (at.month - 1) // 3 * 3 + 2 + 3 * later
        return _month_end(at, at.year + month // 12, month % 12 + 1)
    if unit == "year":
        return _month_end(at, at.year + later, 12)
    month = _MONTHS[unit]
    return _month_end(at, at.year + (month < at.month), month)


def _part_of(match: re.Match[str], at: datetime) -> datetime | None:
    return _date(at, None, _MONTHS[match.group(2)], {"early": 10, "mid": 20, "late": 28}[match.group(1)])


def _in_count(match: re.Match[str], at: datetime) -> datetime | None:
    count = _COUNTS.get(match.group(1)) or int(match.group(1))
    return (
        at
        + count
        * {
            "hour": timedelta(hours=1),
            "day": timedelta(days=1),
            "week": timedelta(days=7),
            "month": timedelta(days=31),
        }[match.group(2)]
    )


def _relative(match: re.Match[str], at: datetime) -> datetime | None:
    word = match.group(1)
    if word in ("today", "tonight", "this morning", "this afternoon", "this evening"):
        return at
    if word == "tomorrow":
        return at + timedelta(days=1)
    if word in ("this week", "this weekend", "the weekend"):
        return at + timedelta(days=6 - at.weekday())
    if word == "next week":
        return at + timedelta(days=13 - at.weekday())
    if word.endswith("month"):
        month = at.month - 1 + (word == "next month")
        return _month_end(at, at.year + month // 12, month % 12 + 1)
    return _month_end(at, at.year + (word == "next year"), 12)


def _month_alone(match: re.Match[str], at: datetime) -> datetime | None:
    month = _MONTHS[match.group(1)]
    return _month_end(at, at.year + (month < at.month), month)


_READERS = (
    (_ISO, _iso),
    (_DAY_MONTH, _day_month),
    (_MONTH_DAY, _month_day),
    (_END_OF, _end_of),
    (_PART_OF, _part_of),
    (_WEEKDAY, _weekday),
    (_ORDINAL, _ordinal),
    (_IN_COUNT, _in_count),
    (_RELATIVE, _relative),
    (_MONTH_ALONE, _month_alone),
)

_UNTIL = re.compile(
    r"\b(?:un)?till?\b|\bthrough(?= (?:the |end|next|\d|mon|tue|wed|thu|fri|sat|sun))|\b(?:ends|end|expires|is over|runs|lasts) on\b|\bup to and including\b"
)
_FORBIDS = re.compile(
    r"\b(?:not|no|never|nothing|nobody|don't|do not|won't|can't|cannot|isn't|aren't|without|hold|wait|leave|only)\b"
)
_BEFORE = re.compile(r"\bbefore\b|\bearlier than\b")
_ALLOWS = re.compile(
    r"\b(?:may|skip\w*|allowed|exception|exceptionally|event|promo\w*|campaign|special|double|bonus|instead|swapped|closed|away|off)\b"
)
_REMINDS = re.compile(
    r"\b(?:forget|remind|must|has to|have to|needs? to|due|deadline|by|from|since|after|before|until|expires?|runs out|ends|valid)\b"
)
_SCHEDULES = re.compile(r"\b(?:not|no earlier|never|earliest|at the earliest) $|\bnot before$|\bnot b$")
"""Before "before" and "until": when work may begin, which is open once that day has come."""
_REMEMBER = re.compile(
    r"\b(?:forget|remind|remember|make sure|be sure|must be|has to be|have to be|needs? to be|done|finished|ready)\b"
)
_SPAN = re.compile(
    r"\bfrom\b.{1,40}?\b(?:to|till|until|through)\b|\bbetween\b.{1,40}?\band\b|\b(?=(?:for|during|over) (?:this|the rest|today|tonight|the weekend|next week))"
)
_FOR_COUNT = re.compile(rf"\bfor (?:the next |another )?(?:{_COUNT}) (?:hour|day|week|month)s?\b")
_ARRANGES = re.compile(
    r"\b(?:mute|silence|snooze|skip|pause|suspend|disable|off|hold|freeze|frozen|block|borrow|lend|lent|away|absent|leave|holiday|vacation|temporar\w+|bypass|stop|closed|"
    r"unavailable|reachable|mountains|sick|travelling|traveling|out of office|ill|sick|conference|training|workshop|stands? in|covers? for|fills? in|deputi\w+|substitutes?)\b"
)
_THIS_SPELL = re.compile(
    r"\b(?:today|tonight|this (?:morning|afternoon|evening|week|weekend|month)|next week|tomorrow)\b"
)
_ONE_TIME = re.compile(
    r"\b(?:only|just) (?:that|this|the) (?:one )?(?:time|once)\b|\bjust once\b|\b(?:that|this) one time\b|\bone[- ](?:time|off)\b|\bthat (?:day|evening|night|morning|week|weekend)\b"
)
_IS_SO = re.compile(
    r"\b(?:is|are|am|'s|'m|'re) (?:\w+ )?(?:away|out|off|ill|sick|busy|down|closed|absent|travell?ing|on leave|on holiday|on vacation|on call|on duty|unavailable|at home|abroad|not here|not in)\b|\b(?:is|are) \w+ (?:today|tonight|this week|this month)\b"
)
_THEN = re.compile(r"(?:,| and|;) then (?P<after>[^.;]{4,160})", re.IGNORECASE)
_TODAY = re.compile(r"\b(?:today|tonight|now|this (?:morning|afternoon|evening)|for the moment|back at)\b")
_ALWAYS = re.compile(
    r"\b(?:every|each|daily|weekly|monthly|nightly|always|per (?:day|week|month))\b|\bweek(?:days|ends)\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)days\b"
)


_TEMPORARY = re.compile(r"\b(?:temporar\w+|for the time being|provisional\w*|interim)\b")
_THIS_HALF_DAY = re.compile(r"\bthis (?:morning|afternoon|evening)\b")
_FIGURE = re.compile(r"\d")
_NOT_NOW = re.compile(r"\b(?:no|not|nothing|don't)\b[^,;:.]{0,40}$")
_ABSENT = re.compile(
    r"\b(?:away|absent|on leave|holidays?|vacation|mountains|reachable|unavailable|sick|travell?ing|out of office|conference)\b"
)
_FORBIDDEN = re.compile(r"\b(?:not|no|never|nothing|nobody|don't|do not|won't|can't|cannot)\b")
_SHORT_SPELL = (
    r"(?:today|tonight|(?:this|the) weekend|(?:the rest of )?(?:the|this) (?:day|morning|afternoon|evening|night|week))"
)
_DAY_OR_SPELL = rf"(?:{_SHORT_SPELL}|tomorrow|next week|(?:the |this |next )?(?:{_DAY})\b(?:'s)?)"
_ONLY_THEN = re.compile(
    rf"\b(?:only|just) (?:for|during|over) {_DAY_OR_SPELL}\b|\b(?:only|just) (?:today|tonight|tomorrow|this (?:week|weekend|evening))\b|"
    rf"\bfor {_DAY_OR_SPELL}[^,;.]{{0,30}}? only\b|\b(?:today|tonight|tomorrow|next week|this (?:week|weekend)) only\b"
)
_FOR_THE_SPELL = re.compile(rf"\bfor (?:just |only )?(?P<spell>{_SHORT_SPELL})\b(?!')")
_PLANS = re.compile(
    r"\b(?:enough|all|that's it|that is it|done|finish\w*|plan\w*|schedul\w*|book\w*|set|on|due|announc\w*|arrang\w*|moved|postponed|agreed|appointed|ready|invited|"
    r"left|todo|do|next|list|work|job|task|tasks|goal|target|forecast) $"
)
"""Before "for today" and "for the weekend": when something takes place or is to be done, which may be late."""
_OCCASION = re.compile(
    r"\b(?:for|during|throughout|while|as long as)\b(?P<what>[^,;:.!?]{0,40}?\b(?:visit\w*|demo|demonstration|presentation|fair|audit\w*|inspect\w*|tour|exhibition|show|"
    r"rehearsal|concert|party|festival|conference|workshop|training|filming|shoot|exams?|guests?|migration|move|maintenance|sale|campaign|holidays?|repairs?)\b[^,;:.!?]{0,30})"
)
_WHILE = re.compile(r"\b(?:during|throughout|while|as long as) (?P<what>[^,;:.!?]{2,60})")
_ONLY_FOR_THEM = re.compile(r"\b(?:only|just) for (?:them|him|her|that|this|it|the occasion)\b")
_FOR_THAT = re.compile(r"\bfor (?:that|this|it)\b(?! \w+ (?:reason|purpose)\b)")
_STAYS = re.compile(r"\b(?:stays?|remains?|keeps?|use) \S")
_A_REGULAR_DAY = re.compile(
    rf"\b(?:an?|any|each|every|per|most|some|all) (?:\w+ )?(?:{_DAY}|day|night|morning|evening|week|weekend|month)s?\b"
)
_TOLD = re.compile(r"\b(?:was|were|did|had|went|came|took|got|saw|found|yesterday|ago|last (?:night|week|month))\b")


def afterwards(text: str) -> str:
    """Of "until …, then …" what holds after the end; empty where nothing is said."""
    found = _THEN.search(text)
    return found.group(1).strip() if found else ""


def ends_at(text: str, at: datetime) -> datetime | None:
    """When what `text` arranges comes to its end; None where it says none, or only for whom or what it waits.

    A deadline ("by Friday", "ready by the end of the year") is no end: work that is late is still open.
    """
    low = text.lower()
    for read in (_until, _not_before, _for_a_while, _that_once, _for_an_occasion, _this_spell):
        if end := read(low, at):
            return end
    return None


def _until(low: str, at: datetime) -> datetime | None:
    for pattern in (_UNTIL, _SPAN):
        if pattern is _SPAN and not (_FORBIDS.search(low) or _ARRANGES.search(low) or _ALLOWS.search(low)):
            continue
        for match in pattern.finditer(low):
            until = low[match.end() : match.end() + _WITHIN]
            if _SCHEDULES.search(low[: match.start()]):
                continue
            # An hour alone is as a rule every day's: "no load until 18:00".
            end = moment(until, at) if _day(until, at) or (pattern is _UNTIL and _TODAY.search(low)) else None
            if end and end.date() == at.date() and _WEEKDAY.search(until) and not _RELATIVE.search(until):
                end += timedelta(days=7)
            if end and not (_ALWAYS.search(low) and (end - at).days < 1):
                return end
    return None


def _not_before(low: str, at: datetime) -> datetime | None:
    """ "No calibration before the 10th" ends then; "move it, but not before the 10th" begins."""
    before = _BEFORE.search(low)
    if before is None or _REMEMBER.search(low) or _SCHEDULES.search(low[: before.start() + 1]):
        return None
    after = low[before.end() : before.end() + 30]
    return moment(after, at) if _FORBIDDEN.search(low[: before.start()]) and _day(after, at) else None


def _for_a_while(low: str, at: datetime) -> datetime | None:
    spell = _FOR_COUNT.search(low) if _ARRANGES.search(low) else None
    if spell:
        return moment(spell.group(), at)
    return moment(low, at) if _TEMPORARY.search(low) else None


def _that_once(low: str, at: datetime) -> datetime | None:
    return moment(low, at) if _ONE_TIME.search(low) else None


def _for_an_occasion(low: str, at: datetime) -> datetime | None:
    """ "Only for Thursday", "in the config for tonight", "for the visit on Thursday", "during the fair next week"."""
    if _ALWAYS.search(low) or _A_REGULAR_DAY.search(low) or _TOLD.search(low):
        return None
    if only := _ONLY_THEN.search(low):
        return moment(only.group(), at)
    spell = _FOR_THE_SPELL.search(low)
    if spell and not _PLANS.search(low[: spell.start()]):
        return moment(spell.group("spell"), at)
    held = _FORBIDS.search(low) or _ARRANGES.search(low) or _ALLOWS.search(low)
    occasion = _OCCASION.search(low) or (_WHILE.search(low) if held else None)
    if occasion and not _REMINDS.search(low) and _names_a_near_day(occasion.group("what")):
        return moment(occasion.group("what"), at)
    alone = _ONLY_FOR_THEM.search(low)
    passing = _THIS_SPELL.search(low) or (_WEEKDAY.search(low) if alone else None)
    return moment(passing.group(), at) if passing and (alone or _FOR_THAT.search(low[passing.end() :])) else None


def _names_a_near_day(what: str) -> bool:
    return bool(_WEEKDAY.search(what) or _THIS_SPELL.search(what) or _DAY_MONTH.search(what) or _ORDINAL.search(what))


def _this_spell(low: str, at: datetime) -> datetime | None:
    """What is so "this week", and figures "of this morning"."""
    spell = _THIS_SPELL.search(low)
    if spell is None:
        return None
    if not _REMINDS.search(low) and (_IS_SO.search(low) or (_THIS_HALF_DAY.search(low) and _FIGURE.search(low))):
        return moment(spell.group(), at)
    if spell.group() in ("tomorrow", "next week"):
        return moment(spell.group(), at) if _ABSENT.search(low) else None
    forbidden = _ARRANGES.search(low) or _STAYS.search(low) or _NOT_NOW.search(low[: spell.start()])
    return moment(spell.group(), at) if forbidden and not _ALWAYS.search(low) else None
