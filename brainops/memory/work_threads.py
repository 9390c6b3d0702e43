"""What a sentence of a session belongs to: what was said just before it, and the request or complaint that began it.

Between a complaint and its cure there are often twenty messages, and the cure shares few words with either the complaint
or what somebody would call the work later. So a sentence is kept with its thread, the nearest message first: how far a
word of it counts falls with the distance.
"""

from collections import Counter, deque
from collections.abc import Iterable, Set
from typing import NamedTuple

from brainops.contracts.message import Role
from brainops.memory.work_words import words

_NEAR = 4
"""Messages before a sentence that belong to it in any case."""

_KEPT = 60
"""Messages among which the beginning of a thread is sought."""

_WORDS = 2
"""A message of fewer words (`go on`, `fine with me`) belongs to nothing."""

_TIED = 0.4
"""From here on an earlier message is the beginning of the thread; two rare words in common are enough."""

_SAID_BY_ASSISTANT = 0.6
"""What a tie to a message of the assistant is worth: mostly it is the user who begins a thread."""

_BEGINNING_AT = 2
"""Where in the context the beginning stands: behind the two nearest messages."""


class _Said(NamedTuple):
    role: Role
    text: str
    stems: frozenset[str]


class Thread:
    """The brief messages of a session so far, the last 60; long ones narrate and belong to no thread."""

    def __init__(self) -> None:
        self._said: deque[_Said] = deque(maxlen=_KEPT)
        self._spoken: Counter[str] = Counter()

    def hear(self, role: Role, text: str) -> None:
        """A message, after the sentences of it were asked about."""
        stems = _stems(text)
        if len(stems) >= _WORDS:
            self._said.append(_Said(role, " ".join(text.split()), stems))
            self._spoken.update(stems)

    def before(self, sentence: str) -> list[str]:
        """The messages that `sentence` belongs to, one a line, the nearest first."""
        said = list(self._said)
        near, earlier = said[-_NEAR:], said[:-_NEAR]
        found = [message.text for message in reversed(near)]
        own = _stems(sentence).union(near[-1].stems if near else ())
        begun = max(earlier, key=lambda message: self._tie(own, message), default=None)
        if begun is not None and self._tie(own, begun) >= _TIED:
            found.insert(_BEGINNING_AT, begun.text)
        return found

    def _tie(self, own: Set[str], message: _Said) -> float:
        """What they have in common, a word counting less the more messages speak of it."""
        worth = 1.0 if message.role == Role.USER else _SAID_BY_ASSISTANT
        return worth * sum(1 / self._spoken[stem] for stem in sorted(own & message.stems))


def _stems(text: str) -> frozenset[str]:
    return frozenset(word.stem for word in words(text) if word.role != "light")


def joined(lines: Iterable[str]) -> str:
    """A context of `lines`, the nearest first; each is cut to 400 characters."""
    return "\n".join(" ".join(line[:400].split()) for line in lines)


def lines_of(context: str) -> list[str]:
    """The lines of a context, the nearest first. An empty one keeps its place."""
    return context.split("\n") if context else []
