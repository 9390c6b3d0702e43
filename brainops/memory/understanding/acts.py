"""What a sentence does in a working talk, and what it is good for later.

Read from the closed classes of English (modal verbs, negations, conjunctions, aspect) and the verbs of work, never from
the nouns of a field: a reversal sounds the same in firmware and in bookkeeping.
"""

import re

from brainops.memory.understanding.model import Act, StatementKind
from brainops.memory.understanding.words import content, specific, tokens, word_set

_ASKS = re.compile(
    r"\?[\s\"'”\u2019)]*$|^(?:(?:and|so|but|hm+|ok|wait)[, ]+)?(?:(?:who|what|how|why|when|where|which)(?:'s| is| are| was| were| do| does| did| can| could| should| would| will| has| have| about| if)|how (?:many|much|often|long|far)|can you|could you|would you|do you|did you|are there|is there|is it|does|"
    r"shall (?:i|we)|should (?:i|we))\b(?! (?:is|are|was) (?:left|open):)(?!.*[.;:].)",
    re.IGNORECASE,
)
_ACCEPTS = re.compile(
    r"^(?:hm+[,. ]+|oh[,. ]+)?(?:ok(?:ay)?|k|fine|yes|yep|yeah|yup|sure|good|great|right|agreed|perfect|deal|sounds (?:good|right|fine)|makes sense|alright|all right|do (?:that|it|so)|go (?:for|with|ahead)|"
    r"let's (?:do|go|take|use)|use|take|then|nice|exactly|correct|approved|you're right|as you say|(?:good|great|nice) (?:plan|idea))\b(?! (?:leave|not\b))",
    re.IGNORECASE,
)
_CHOOSES = re.compile(r"(?:the )?\S+(?: \S+){0,4} (?:then|please|it is)[.!]?$", re.IGNORECASE)
_OPTIONS = re.compile(
    r"\b(?:two|three|several|both) (?:candidates|options|ways|possibilities|approaches|alternatives|choices)\b|\beither\b.{3,80}\bor\b|\boption (?:a|1|one)\b",
    re.IGNORECASE,
)
_EMPTY_YES = word_set(
    """
    ok okay k kk fine yes yep yeah yup sure good great right agreed perfect deal sound sounds sense alright nice exactly correct beautiful
    lovely cool super wow whoa thanks thank please oh hm hmm mm mmh uh huh aha ah argh ha carry continue proceed keep going go next reading
    along got understood noted plan idea find one way says love it wonderful excellent brilliant wonder awesome neat true indeed absolutely
    certainly course morning hello hi evening ready
    """
)
_STEERS = re.compile(
    r"^(?:(?:ok|okay|hm+|wait|sorry|right|sure|and|so|no|alright)[,.:;]? +)*(?:"
    r"(?:please )?(?:show|tell|give|print|remind|send) (?:me|us)\b(?!.*\b(?:before|first|each|every|always|never|when|once|after)\b)|"
    r"(?:can|could|would|will) you (?:please )?(?:show|print|check|look|tell|give|repeat|explain|scroll|open)\b|"
    r"(?:keep|carry|go|read|move|scroll) (?:going|on|ahead|along)\b|continue\b|(?:let me|lemme|i'll|i) (?:look|check|see|read|think|have a look)\b|"
    r"(?:you can |let's |please )?skip (?:the )?\S+(?: \S+){0,3}$|leave \S+ for (?:the moment|now)\b|run (?:that|it|this) (?:once more|again)\b|"
    r"(?:give|need|wait) (?:me )?(?:a|two|five|ten) (?:second|moment|minute)s?\b|(?:be right back|brb|back in a)\b|(?:was|am|i'm) on (?:a|the) (?:call|phone)|(?:never ?mind|doesn't matter)\b|do you see\b)",
    re.IGNORECASE,
)
_GLANCES = re.compile(
    r"\b(?:doesn't matter|never ?mind|my mistake reading|ah, (?:no|ok|i see)|i see(?: it)?[.!]?$|forget i asked)\b|^\d+ of \d+, (?:ok|fine|good)$",
    re.IGNORECASE,
)

_PROPOSES = re.compile(
    r"\b(?:i'd|i would|i could|i suggest|i propose|we could|we can|one could|proposal|suggestion|propose|option|candidates?|alternatives?|my plan|plan for|simplest|easiest|easy way|would be|could be|can be (?:done|delegated)|"
    r"first version|draft)\b|^then\b|\bhow about\b|\bwhat if\b",
    re.IGNORECASE,
)
_GUESSES = re.compile(
    r"^(?:perhaps|maybe)\b|\b(?:guess|suspect(?:s|ed)?|suspicion|probably|presumably|likely|might be|could be|looks like|smells like|seems to be|i think (?!we (?:should|can|will)|i(?:'d|'ll)? )|i believe|i'd bet|assumption|hypothesis|theory|my bet|hunch|first (?:idea|thought|impression|guess))\b",
    re.IGNORECASE,
)
_PROCESS = re.compile(
    r"^(?:(?:next|now|first|then|ok|so|meanwhile|in the meantime)[, ]+)?(?:(?:i'll|i'm going to|let me|i'm|i am|i will|i'd like to see|i want to see|i've|i have|i) (?:just |now |also |first |then |only |first )?"
    r"(?:look|read|check|start|begin|see|open|go|collect|compare|scan|search|skim|run|re-run|re-read|try|watch|follow|take a look|take|note|write down|copy|checking|reading|looking|collecting|comparing|going|scanning|leaving|doing|"
    r"follow|following|pull|gone|looked|checked|compared|opened|skimmed|noted|pulled|rendered|asked|searched|tried to reproduce)\b|"
    r"(?:reading|collecting|looking|checking|comparing|searching|opening|scanning|starting|continuing|switching to|working|going by|going through)\b|(?:where i'm at|what i'm doing|in order|for this bit|working through|the small steps|my list)\b)",
    re.IGNORECASE,
)

_OPEN = re.compile(
    r"\b(?:open|remain(?:s|ing)?|left|outstanding|unresolved|unclear|undecided|pending|to ?do|wait(?:s|ing)?(?: for| on| until| till)?|blocked|blocks|blocker|park(?:ed)?|postpone[sd]?|defer(?:red)?|not (?:yet|now|today|run|done|set|written|"
    r"touched|tested|merged|deployed)|isn't (?:\w+ )?(?:yet|done|written|set|tested|merged|deployed)|hasn't|haven't|no answer|don't forget|remind|still (?:says|has|have|needs?|missing|to|open)|needs? to|needs? (?:a|the|an)|has to (?:say|answer|decide|add|send|sign)|"
    r"have to|next is|is next|is asking|i asked|asked \w+|i'll ask|skipped|missing|until \w+ (?:has|have|is|are|sends|answers|signs|says)|before \w+ (?:has|have|sends|answers|signs|says)|later|another day|not before|after (?:the|that) \w+ ?\w*$)\b",
    re.IGNORECASE,
)
_BINDS = re.compile(
    r"\b(?:must(?:n't)?|never|only|always|may not|mustn't|shall|has to|have to|had to|not allowed|forbidden|required|requires|no \w+ (?:before|without|after|in|into|on|between|during)|nothing (?:goes|into|may)|don't|do not|cannot|can't|"
    r"at most|at least|up to|no more than|not more|not less|maximum|minimum|every|each|otherwise|outside of|wants no|stays?|limit|regulation|by law|policy|rule|may be|out of|veto|allowed|before you)\b",
    re.IGNORECASE,
)
_PREFERS = re.compile(
    r"\b(?:prefer|i like|i hate|i don't like|i don't want|i want|style|tone|wording|convention|please|tests?: write|ask me|show me|tell me|for reviews? by|sign as|by hand|call it|named?|naming|format|minds?|pronounce|"
    r"in (?:english|german|french|norwegian|swedish|danish|dutch|spanish|italian)|exports?|answers? to|folder|header only)\b",
    re.IGNORECASE,
)
_FIXES = re.compile(
    r"\b(?:because|cause[sd]?|reason|found (?:it|the)|fix(?:es|ed)?|cures?|cured|turned out|it was|root|workaround|solved|solution|resolved|helps|error|fails?|failed|failure|crash(?:es|ed)?|leak|bug|broken|"
    r"wrong|missing|mismatch|stale|trap|was never|works? (?:again|now)|so it's|instead of|without (?:it|the|that)|returns|raises|throws|inconsistent|makes? it|goes through|went through|it passes|pinned)\b",
    re.IGNORECASE,
)
_DECIDES = re.compile(
    r"\b(?:go(?:ing)? with|we'll|we will|will be|decided|decision|instead|wins|let's|make it|keep|stays?|from now on|becomes|became|is now|are now|we take|we use|use|then|goes? (?:to|into)|set (?:to|for)|moves? to|is (?:off|out)|gets?|"
    r"settled|agreed|chosen|pick(?:ed)?)\b",
    re.IGNORECASE,
)
_DID = re.compile(
    r"\b(?:done|added|released|merged|committed|applied|answered|removed|deleted|deployed|refunded|renamed|reverted|revoked|installed|closed|sent|wrote|written|told|created|made|moved|pinned|corrected|changed|masked|"
    r"fixed|raised|switched|tagged|rewrote|finished|complete[d]?|shipped|published|pushed|migrated|imported|uploaded|ordered|booked|updated|set|rebuilt|built|restored|cleaned|disabled|enabled|writes|is in|are in|went out|is active)\b",
    re.IGNORECASE,
)
_STANDS = re.compile(
    r"\b(?:now|currently|at the moment|latest|measured|figure|median|so far|is (?:live|on|at|off|up|down)|takes|took|in total|baseline|summary|status|\d+ of \d+|since)\b",
    re.IGNORECASE,
)
_ORDERS = re.compile(
    r"^(?:(?:ok|okay|and|then|so|great|good|please|now|yes|right|also|oh)[,. ]+)*(?:please )?(?:add|run|do|send|ship|release|revoke|commit|write|make|put|tell|build|deploy|push|merge|create|remove|delete|move|rename|fix|try|test|start|stop|"
    r"restart|switch|roll|back to|check|update|install|open|close|answer|reply|print|prepare|draft|book|order|call|mail|refund|pin|document|record|note)\b|\bwe need\b|\bi need\b|\bwe should\b|\bwe want\b|\bcan we\b",
    re.IGNORECASE,
)
_LASTS = re.compile(
    r"\b(?:never|always|every|each|only|must|not|no|don't|do not|until|from now on|unless|whenever|before|between|outside|otherwise|so that|at most|at least|in steps)\b",
    re.IGNORECASE,
)


_ADDS = re.compile(r"\b(?:also|too|as well|in addition|besides|on top|additionally|another one|plus)\b", re.IGNORECASE)
_EXPLAINS = re.compile(
    r"\b(?:because|caused by|turned out|measured|the (?:cause|reason|culprit)|found it|it (?:was|is) the|it's (?:the|a)|so it's|the fix|fixes|cures|cured|workaround|now it (?:reads|works|runs|passes|answers|starts)|works now|(?:is|are) gone|brings (?:it|them) back|clash(?:es|ed)?|collide[sd]?)\b",
    re.IGNORECASE,
)


_STILL_OPEN = re.compile(r"\b(?:open|left|until|isn't|not done|remain)", re.IGNORECASE)
_AWAITS = re.compile(r"\b(?:open|left|remain|wait|not|until|needs? to|has to|still)", re.IGNORECASE)


_STATES = re.compile(r"\S+ (?:\S+ )?(?:is|are|was|were|has|have)\b", re.IGNORECASE)


def is_question(sentence: str) -> bool:
    """Whether it asks, with or without the mark."""
    return bool(_ASKS.search(sentence))


def is_empty_yes(text: str) -> bool:
    """Whether nothing is said but that it may go on: "sure, go on", "good plan"."""
    return all(word.lower().strip("'") in _EMPTY_YES or word.lower() in _FILLING for word in tokens(text))


_FILLING = word_set(
    """
    it that this the a an i i'm is was me on with by you your to do so and of let's that's at all very much who does good job work well not bad
    """
)


def is_steering(sentence: str) -> bool:
    """Whether it only moves the talk of the moment: "show me the next page", "never mind"."""
    return is_empty_yes(sentence) or bool(_STEERS.search(sentence) or _GLANCES.search(sentence))


def accepts(sentence: str) -> bool:
    """Whether it says yes to what was said before."""
    return bool(_ACCEPTS.search(sentence) or _CHOOSES.match(sentence))


def offers_choice(text: str) -> bool:
    """Whether several ways are laid out to choose from."""
    return bool(_OPTIONS.search(text))


def is_process(sentence: str) -> bool:
    """Whether the assistant only says what it is looking at."""
    return bool(_PROCESS.search(sentence))


def is_lasting(sentence: str) -> bool:
    """Whether an order holds beyond the one time."""
    return bool(_LASTS.search(sentence))


def orders(sentence: str) -> bool:
    """Whether it asks for a piece of work."""
    return bool(_ORDERS.search(sentence)) and not _STATES.match(sentence)


def guesses(sentence: str) -> bool:
    """Whether it is hedged."""
    return bool(_GUESSES.search(sentence))


def proposes(sentence: str) -> bool:
    """Whether it offers a way that still has to be agreed to."""
    return bool(_PROPOSES.search(sentence))


def reports(sentence: str) -> bool:
    """Whether it says that something was done."""
    return bool(_DID.search(sentence))


def finds(sentence: str) -> bool:
    """Whether it says what was wrong or what cured it."""
    return bool(_FIXES.search(sentence))


def leaves_open(sentence: str) -> bool:
    """Whether it leaves something to be done, or to wait for."""
    return bool(_OPEN.search(sentence))


def binds(sentence: str) -> bool:
    """Whether it says what must, must not, or may only be."""
    return bool(_BINDS.search(sentence))


def adds(sentence: str) -> bool:
    """Whether it comes on top of what was said, and takes nothing away."""
    return bool(_ADDS.search(sentence))


def kind_of(sentence: str, act: Act, *, by_user: bool) -> StatementKind:
    """What the sentence is good for later; the first that fits, what binds or is open before what merely is."""
    if not by_user and act is not Act.GUESSES and _EXPLAINS.search(sentence) and not _STILL_OPEN.search(sentence):
        return StatementKind.FIX
    if leaves_open(sentence) and (_AWAITS.search(sentence) or not reports(sentence)):
        return StatementKind.TODO
    if by_user and _PREFERS.search(sentence) and not re.search(r"\b(?:must|never)\b", sentence, re.IGNORECASE):
        return StatementKind.PREFERENCE
    if binds(sentence) and (by_user or act is Act.CONFIRMS):
        return StatementKind.CONSTRAINT
    if finds(sentence):
        return StatementKind.FIX
    if act in (Act.ACCEPTS, Act.PROPOSES) or _DECIDES.search(sentence):
        return StatementKind.DECISION
    return StatementKind.DONE if reports(sentence) else _plain_kind(sentence)


def _plain_kind(sentence: str) -> StatementKind:
    if _STANDS.search(sentence) or not specific(sentence) or len(content(sentence)) >= 12:
        return StatementKind.STATE
    return StatementKind.PASSING
