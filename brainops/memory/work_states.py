"""What a sentence says of the state of work: finished, open, planned, waiting or taken back.

Read from tense, modality and negation, which are the same in every trade: `added`, `is live`, `writes it now` report;
`not yet`, `waits for`, `should`, `I'd`, `next` do not. A sentence that only observes, or tells of looking at things, has no
state.
"""

import re
from enum import StrEnum

_READ = 600
"""Characters of a sentence that are read."""


class WorkState(StrEnum):
    """Where a piece of work stands."""

    DONE = "done"
    CLAIMED = "claimed"
    """Somebody has said that they are at it."""
    OPEN = "open"
    PLANNED = "planned"
    WAITING = "waiting"
    REVERTED = "reverted"
    """Done once and taken back, or given up."""

    @property
    def taken(self) -> bool:
        """Whether nobody else should begin it."""
        return self in (WorkState.DONE, WorkState.CLAIMED)


_NOT_WORK = (
    "noted|noticed|tried|expected|suspected|wanted|needed|agreed|understood|supposed|assumed|guessed|hoped|planned|proposed|"
    "suggested|prepared|drafted|looked|seemed|appeared|happened|asked|requested|compared|based|related|used|called|named|"
    "located|skimmed|browsed|reviewed|considered|skipped|postponed|deferred|delayed|parked|blocked|required|allowed|"
    "supported|interested|concerned|limited|involved|mentioned|affected|failed|stopped|pointed|scheduled|queued"
)
"""Participles that report a look, a thought, a wish or an obstacle."""

_IRREGULAR = (
    "sent|written|wrote|made|built|told|ran|taken|took|found|kept|given|gave|paid|brought|bought|sold|drawn|drew|begun|began|"
    "hidden|hid|rewritten|rewrote|rebuilt|undone|done|went|gone|got|caught|held|led|met|taught|swapped"
)
_UNCHANGED = "put|set|run|cut|split|reset|shut|read|let"
"""Past and present alike: they report after `I`, `has` or `is`; elsewhere they may be a wish or a habit."""

_PAST = rf"(?:(?!(?:{_NOT_WORK}|need|feed|speed|seed|indeed)\b)[a-z-]{{2,40}}ed|{_IRREGULAR})"
_ADVERBS = (
    r"(?:(?:just|also|already|now|all|both|finally|again|then|since|successfully|fully|each|therefore|so|only)\s+){0,3}"
)
_SOMEBODY = r"(?:he|she|they|somebody|someone|[a-z]+)"
_COUNT = r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|most|half|some)"

_LOOKING = re.compile(
    r"^(?:(?:so|and|then|now|next|first|ok)[, ]+){0,3}"
    r"(?:(?:i'm|i am|i was|let me|i'll|i've|i have|i|we)\s+(?:(?:now|also|just|only|then|first)\s+)?)?(?:going to )?"
    r"(?:look|read|check|see|compar|go|gone|walk|step|skim|count|scan|search|pull|browse|inspect|review|watch|re-?read|open)"
    r"(?:s|ed|ing|n)?\b"
)
"""How a sentence begins that tells of looking at things, which changes none of them."""

_LOOKED_AND = re.compile(r"[;,:] (?:and )?(?:it|that|i|we|now|so|fixed|done)\b|\bpass(?:es|ed)\b")
"""It goes on to report."""

_QUESTION = re.compile(r"\?\s*$")

_REVERTED = re.compile(
    r"\b(?:reverted|rolled (?:\w+ )?back|(?:took|taken|taking) (?:it|that|them|this|the \w+) (?:back|out)|"
    r"backed (?:it |that )?out|undone|undid|scrapped|gave (?:it )?up|given up|abandoned|cancell?ed|called off|discarded|"
    r"withdrawn|withdrew|went back to|(?:is|are) back (?:to|on)|again on the old)\b"
)
_PLAN_OPENING = re.compile(
    r"^(?:then|next|now for|first[,:]|proposal|plan|idea|todo|to do|later|maybe|perhaps|if)\b(?! (?:it|that) (?:works|passes))"
)
_WAITING = re.compile(
    r"\b(?:wait(?:s|ed|ing)?\s+(?:for|on|until|till)|awaiting|blocked|blocks|pending|on hold|parked|park (?:it|that|this)|stuck|"
    r"hangs? (?:on|over)|(?:is|are) asking|(?:i|we|they|he|she)(?:'ve| have)? asked (?!for a)|(?:have|has) asked|no answer|"
    r"(?:has|have) to (?:say|answer|decide|approve|confirm|sign)|"
    r"(?:not|no \w+|nothing|don't|do not|never)\b.{0,80}\b(?:before|until|till|unless)\b|"
    rf"(?:before|until|once|when|as soon as|after) {_SOMEBODY} (?:has|have|is back|are back|answer(?:s|ed)?|sign(?:s|ed)|"
    r"decide[sd]|approve[sd]|says?|confirm(?:s|ed))|"
    r"for after|only (?:then|after|when|once)|can only be|frozen until|"
    r"needs? (?:a |an |the )?(?:\w+ )?(?:approval|answer|decision|signature|permission|licen[cs]e|merge|to be))\b"
)
_REQUIRED = re.compile(r"\b(?:has to|have to|must|should)\b")
_NEGATED = re.compile(
    r"\b(?:not yet|yet to|(?:is|are|was|were|has|have|had|did)n't|(?:is|are|was|were|has|have) not|can't|cannot|couldn't|"
    r"not (?:done|run|set|started|begun|touched|written|merged|applied|deployed|sent|finished|released|shipped|migrated|"
    r"tested|there)|never (?:done|run|ran|got|been|was|happened)|nobody has|no one has|nothing (?:is|was|has)|untouched|"
    r"unfinished|un(?:done|written|tested|merged|sent))\b"
)
_OPEN = re.compile(
    r"^not \w+:|\b(?:the last thing|that's left|'s the one left|needs? the|has no|have no|that's with|is with|"
    r"it needs|open:|still open|open are|remain(?:s|ing)?\b|left:|left to\b|(?:is|are) left\b|missing\b|still to\b|to ?do:|to do\b|"
    r"outstanding|still (?:needs?|has|have|says?|lacks?)\b|skip(?:ped)?\b|"
    r"not (?:now|today|tonight|this (?:week|month|time|sprint|quarter))|another (?:day|time|week)|"
    r"(?:park|postpon|deferr|delay)ed\b|(?:park|postpone|defer) (?:it|that|this|the)\b|leave (?:it|that|this|the)\b|left (?:it|that) (?:for|until)|"
    r"next (?:is|are|up|would)\b|(?:is|comes) next|next\.?$|prepared|drafted|tomorrow|(?<!s )later\b|some ?day|backlog|wish ?list|"
    r"out of scope|only an idea|not decided|undecided)|\w open(?=$|[.,;])"
)
_PLANNED = re.compile(
    r"\b(?:(?:i|we|he|she|they)'(?:d|ll)|would|could|should|shall|might|may|will|won't|going to|plan(?:s|ned|ning)? (?:to|for|is)|"
    r"want(?:s|ed)?|need(?:s|ed)? (?:to|an?)|(?:has|have|had) to|must|ought|to be \w+(?:ed|en)|gets? \w+(?:ed|en|t)|"
    r"an? (?:easy|simple|quick|other|possible|better) (?:way|option|fix)|options?|alternatives?|candidates?|simplest|easiest|"
    r"smallest|(?:is|are) to|proposal|propose|suggest(?:ion)?|(?<!any )(?<!no )idea|consider(?:ing)?|thinking of|let's|let us|can (?:we|you|i)|"
    r"(?:i|we|you) can|please|(?:how|what) about|intend|aim(?:s|ing)?|goal|supposed to|waiting|starting|beginning|continuing|"
    r"working on|looking at|in progress|under way|halfway|half done)\b"
)
_DONE = re.compile(
    rf"\b(?:i|we|he|she|they|you)(?:'ve| have| has|'s)?\s+{_ADVERBS}{_PAST}\b"
    rf"|\b(?:i|we)(?:'ve| have)?\s+{_ADVERBS}(?:{_UNCHANGED})\b"
    r"|^(?:(?:yes|ok|okay|good|right|great|so|and|also|then|now|all|both|just|already|finally|again)[,:]?\s+){0,3}"
    rf"{_PAST}\b"
    rf"|(?:\b(?:is|are|was|were|been|got)|'s|'re)\s+{_ADVERBS}(?:{_PAST}|{_UNCHANGED}|in|live|active|valid|out|up|there|through|"
    r"complete|ready|closed|green|clean|empty|off|on|fine|a job)(?=$|[\s.,;:!)])"
    rf"|\b(?:has|have|had)\s+{_ADVERBS}(?:been\s+)?(?:{_PAST}|{_UNCHANGED})\b"
    rf"|[a-z0-9)`'] {_ADVERBS}{_PAST}(?=[.,;:!]|$)"
    r"|\b(?:now|again) [a-z]{2,30}s\b|[a-z0-9`)] [a-z]{2,30}s (?:now|again)\b|\bfrom now on\b|\b(?:is|are) now\b|\bnow (?:is|are|have|do)\b"
    r"|\b(?:fixes|cures|solves|heals|resolves|helps) (?:it|that|this|them|the)\b"
    r"|\b(?:it|this|login|test|build|suite)s? (?:now )?(?:works?|pass|passes|helped|worked|did it)\b"
    r"|\bthat was (?:it|the \w+)\b|\b(?:works|passes|green|merged|shipped|live|finished)(?=[.,;!]|$)|\blands? in\b|\bgone from\b"
    r"|\bsurvives?\b|\bswitched to\b|\bwent (?:to|out|live|through|up|in)\b|\bnow(?=[,;.]|$)|\b(?:brings?|gives?) (?:it|that|them|this) back\b"
    r"|\b(?:without|no more|no longer|not a single|no|zero|0) (?:an? |any |more |bad )?\w+ (?:for|in|since|after|any ?more)\b"
    r"|\b(?:came|went|get|gets|got|come|comes|let|lets|lets? \w+|fits) through\b|\bhas(?:n't| not) come back\b|\bstarts? again\b"
)
_CONDITION = re.compile(
    r"\b(?:until|till|unless|if|once|as soon as|before|when)\b(?! (?:it|that) (?:works|passes))[^,;:]*"
)
"""A clause that says under which condition, or when. What is finished in it is not finished: `until the part is in`."""

_CASE = re.compile(r"\b(?:when|if|once)\b[^,;:]*")
_FEW = 2
"""A clause that says in which case, which may be one of something missing; left out where more than two words remain."""

_CONJECTURE = re.compile(
    r"\b(?:(?:first|my|best|only) (?:thought|guess|idea|suspicion)|i(?:'d)? (?:believe|suspect|guess|think|assume)|"
    r"i'm afraid not|(?:could|might|may) (?:well )?be|presumably|probably|perhaps|maybe|smells of|looks like|the usual reason)\b"
)
_POSSIBLE = re.compile(
    r"\b(?:can be \w+(?: \w+){0,2}|can \w+ (?:two|either|both)|(?:two|three) (?:ways|kinds|options|possibilities)|either)\b"
)
"""What could be, or could be done: nobody has done it."""

_COMING = re.compile(
    r"\b(?:is|are|was|were|'s|'re)(?: \w+)? (?:ordered|promised|announced|on (?:its|the|their) way)\b|\bno date yet\b|"
    r"\b(?:is|are) held\b(?! on)|\bholds? until\b"
)
_NONE_LEFT = re.compile(
    r"\b(?:no|nothing|none) (?:\w+ ){0,3}(?:left|pending|remain\w*|outstanding|missing|waiting|open)\b|\bno pending\b"
)
_RULE = re.compile(
    r"^(?:(?:and|so|please|but|also|ok|right)[, ]+)*(?:never|always|nobody|no one|nothing)\b(?! (?:happened|changed|was|is|has))"
)
"""How a sentence begins that says how things are to be done, which does none of them."""

_PARTIAL = re.compile(
    rf"\b(?:done|finished|ready|migrated|updated|changed|moved|live|out|rolled out|sent|answered) (?:on|for|in|to|at|with) "
    rf"(?:{_COUNT}|all but)\b|\b{_COUNT} (?:of|out of) (?:the )?{_COUNT}\b|\b(?:except|all but|apart from)\b"
)


_CAUSE = re.compile(
    r"\b(?:because|since (?:all|it|they|the|then|we|he|she)|as (?:it|they)(?:'s|'re| is| are)?|that's (?:why|the|what)|"
    r"the (?:real |actual |true )?(?:cause|reason)|turns? out|comes? from|due to|it(?:'s| is| was) (?:the|a|an|one)\b(?!.*\bidea)|"
    r"explains|the fault|was the|were taken for|instead of the|ignores?|silently|without a word|has (?:a|the) (?:simple )?reason)\b|"
    r", so (?:the|it|every|everything|they|nobody|each|that)\b|\w: (?:the|it|they|some|a|an|no|neither)\b"
)
_UNKNOWN = re.compile(
    r"\b(?:don't know|no idea|unknown|unclear|not clear|can't (?:explain|say|tell)|cannot (?:explain|say|tell)|puzzl\w+|"
    r"myster\w+|not found|still (?:looking|searching|hunting)|not (?:yet )?(?:known|understood|explained))\b|\bwhy\b.*\?"
)


def tells_cause(sentence: str) -> bool:
    """Whether it may say what something comes from: `the clock was wrong, so every token had expired`."""
    return bool(_CAUSE.search(_plain(sentence)))


def misses_cause(sentence: str) -> bool:
    """Whether it says, or asks, that a cause isn't known."""
    return bool(_UNKNOWN.search(_plain(sentence)))


def _plain(sentence: str) -> str:
    return sentence[:_READ].lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def state_of(sentence: str) -> WorkState | None:
    """The state that `sentence` gives to the work it speaks of; None when it reports none."""
    text = _plain(sentence).strip("`*_ ")
    if _only_looks(text):
        return None
    if _RULE.search(text):
        return WorkState.WAITING if _WAITING.search(text) else None
    planned = _PLANNED.search(text)
    if _QUESTION.search(text):
        return WorkState.PLANNED if planned else None
    return _unfinished(text) or _reported(text, planned)


def only_looks(sentence: str) -> bool:
    """Whether it tells of looking at things and of nothing else: `let me read the log first`."""
    return _only_looks(sentence[:_READ].lower())


def _only_looks(text: str) -> bool:
    return bool(_LOOKING.match(text)) and not _LOOKED_AND.search(text)


def _unfinished(text: str) -> WorkState | None:
    if _REVERTED.search(text):
        return WorkState.REVERTED
    if _NONE_LEFT.search(text):
        return None
    if _COMING.search(text):
        return WorkState.WAITING
    if _PLAN_OPENING.match(text) and not _DONE.search(text):
        return WorkState.PLANNED
    if _WAITING.search(text):
        return WorkState.WAITING
    said = _CASE.sub(" ", text)
    if _OPEN.search(said if len(said.split()) > _FEW else text):
        return WorkState.OPEN
    if _REQUIRED.search(text):
        return WorkState.PLANNED
    return WorkState.OPEN if _NEGATED.search(text) else None


def _reported(text: str, planned: re.Match[str] | None) -> WorkState | None:
    reported = _DONE.search(_CONDITION.sub(" ", text))
    if _CONJECTURE.search(text) or _POSSIBLE.search(text):
        return WorkState.PLANNED
    if not reported and _NONE_LEFT.search(text):
        return WorkState.DONE
    if _PLAN_OPENING.match(text) or (planned and (not reported or planned.start() < reported.start())):
        return WorkState.PLANNED
    return WorkState.DONE if reported else None


def is_partial(sentence: str) -> bool:
    """Whether it reports work as done on some of several: `done on three`, `4 of the 9`. What follows is the rest."""
    return bool(_PARTIAL.search(sentence[:_READ].lower()))
