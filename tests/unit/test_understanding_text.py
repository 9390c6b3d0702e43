"""Prose as sentences: what ends one and what does not."""

import pytest

from brainops.memory.understanding.text import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # chat begins sentences in lower case
        ("use the small one. the other is broken", ["use the small one.", "the other is broken"]),
        # versions, files, hosts and figures hold full stops of their own
        ("Pinned v3.4.1 in setup.cfg on db.example. Done.", ["Pinned v3.4.1 in setup.cfg on db.example.", "Done."]),
        ("It takes 1.5 s, e.g. at night. Fine", ["It takes 1.5 s, e.g. at night.", "Fine"]),
        ("Ask Dr. Okoro, see No. 5. no. not that", ["Ask Dr. Okoro, see No. 5.", "no.", "not that"]),
        ("J. Marsh has plan B. Then go", ["J. Marsh has plan B.", "Then go"]),
        # code, quotes and brackets are kept whole
        ("Call `a. b` first. Then `c`", ["Call `a. b` first.", "Then `c`"]),
        ("well... maybe. Really? yes!", ["well... maybe.", "Really?", "yes!"]),
        # bullets stand for themselves, without their mark
        ("Next:\n- one. two\n* [ ] three\n2) four", ["Next:", "one.", "two", "three", "four"]),
        # a fence is one piece
        ("See\n```\na. b.\nc\n```\nend", ["See", "```\na. b.\nc\n```", "end"]),
        ("", []),
        (" \n\t\n", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_wrapped_lines_are_one_sentence() -> None:
    wrapped = "The index is built at night because the table is locked while\nit is written. The rest stays."
    assert sentences(wrapped) == [
        "The index is built at night because the table is locked while it is written.",
        "The rest stays.",
    ]
