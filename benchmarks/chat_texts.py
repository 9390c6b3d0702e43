"""Made-up chat: common words in their usual share, rarer ones by Zipf's law, so that postings are as long as in life."""

import random
from itertools import accumulate

_COMMON = [
    "the",
    "a",
    "to",
    "and",
    "of",
    "in",
    "is",
    "it",
    "that",
    "for",
    "on",
    "with",
    "this",
    "be",
    "are",
    "was",
    "have",
    "not",
    "we",
    "you",
    "I",
    "can",
    "do",
    "will",
    "at",
    "from",
    "as",
    "but",
    "if",
    "or",
    "so",
    "they",
    "what",
    "when",
    "there",
    "by",
    "an",
    "all",
    "one",
    "would",
    "about",
    "which",
    "has",
    "get",
    "just",
    "then",
    "now",
    "how",
    "our",
    "your",
    "me",
    "my",
    "up",
    "out",
    "more",
    "its",
]
_COMMON_SHARE = 0.45
"""Of the words of a chat, those that an index leaves out."""

_WORDS = 20_000
_ZIPF_SHIFT = 20
"""Without it the first few content words would stand in every second message."""

_WORK = (
    "Let's use {0} for the {1}, it handles {2} better.",
    "We decided to keep the {0} in {1} because {2} needs it.",
    "Please never change the {0} without asking {1} first.",
    "The {0} failed with error {3}: {1} not found; setting {2} to {3} fixed it.",
    "I have added the {0} to the {1} and all tests pass.",
    "Still open: the {0} needs a check of {1} before the release.",
    "No, not {0}: take {1} instead for the {2}.",
    "I looked through {0} and {1}; there are {3} places that call {2}.",
    "The {0} now runs every {3} minutes on {1}.",
    "Next we have to move {0} out of {1}.",
)


class Chat:
    """Texts, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        words = random.Random("words")  # the same language for everybody
        made: dict[str, None] = {}
        while len(made) < _WORDS:
            made[
                "".join(words.choice("bcdfglmnprstvz") + words.choice("aeiou") for _ in range(words.randint(2, 4)))
            ] = None
        self._words = list(made)
        self._weights = list(accumulate(1 / (rank + _ZIPF_SHIFT) for rank in range(_WORDS)))
        self._chance = random.Random(seed)

    def message(self) -> str:
        """8 to 45 words."""
        return self._text(self._chance.randint(8, 45))

    def question(self) -> str:
        """6 to 14 words."""
        return self._text(self._chance.randint(6, 14)) + "?"

    def work(self, count: int) -> list[str]:
        """What is said while something is built: one in three decides, forbids, reports or leaves open."""
        return [self._statement() if place % 3 == 0 else self.message() for place in range(count)]

    def _statement(self) -> str:
        return self._chance.choice(_WORK).format(*self._content(3), self._chance.randint(2, 900))

    def _text(self, length: int) -> str:
        content = self._content(length)
        told = [self._chance.choice(_COMMON) if self._chance.random() < _COMMON_SHARE else word for word in content]
        return " ".join(told).capitalize()

    def _content(self, count: int) -> list[str]:
        return self._chance.choices(self._words, cum_weights=self._weights, k=count)
