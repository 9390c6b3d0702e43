"""Faults that are near but not equal are found; others are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.signatures import Half, judge, precision_and_recall, read_labelled, signature_of
from brainops.memory.similarity import SIMILAR_ENOUGH, Likeness, similarity
from brainops.telemetry.templates import template

LABELLED = read_labelled()
JUDGED = judge(LABELLED)


@pytest.mark.parametrize("half", ["tune", "report"])
def test_similar_signatures_are_found_and_others_are_not(half: Half) -> None:
    precision, recall = precision_and_recall(pair for pair in JUDGED if pair.half == half)
    assert precision >= 0.95
    assert recall >= 0.8


def test_the_pairs_are_what_they_are_said_to_be() -> None:
    assert len(JUDGED) >= 120
    assert {pair.half for pair in JUDGED} == {"tune", "report"}
    signatures = {name: signature_of(fault).key for name, fault in LABELLED.faults.items()}
    for pair in JUDGED:
        one, other = LABELLED.faults[pair.one], LABELLED.faults[pair.other]
        assert one.half == other.half
        assert (one.fault == other.fault) == pair.same
        assert signatures[pair.one] != signatures[pair.other]


def test_another_port_pid_path_or_service_does_not_matter() -> None:
    fault = LABELLED.faults["port-taken-go"]
    elsewhere = fault.model_copy(update={"log": fault.log.replace("8080", "9443")})
    assert signature_of(fault).key == signature_of(elsewhere, port=9443).key


def crash(line: str, **changes: object) -> Likeness:
    values: dict[str, object] = {"kind": "crash", "check": "process", "reason": "exited", "ending": "exit 1"}
    return Likeness.model_validate(values | {"template": template(line)} | changes)


IN_USE = "OSError: [Errno 98] Address already in use"
BIND = "panic: listen tcp :8080: bind: address already in use"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (crash(IN_USE), crash(BIND), True),  # another runtime's sentence
        (crash(IN_USE), crash(BIND, ending="exit 2"), True),  # the line says what happened, not the exit code
        (crash(IN_USE), crash(BIND, kind="crash_loop"), True),  # a loop is a crash that was looked at later
        (crash(IN_USE), crash(BIND, facts=("a port is held by another process",)), False),  # another cause
        (crash(IN_USE), crash(BIND, ending="exit 0"), False),  # it ended as it should
        (crash(IN_USE), crash(BIND, reason="not_running"), False),
        (crash(IN_USE), crash(BIND, kind="hang", reason="timeout"), False),
        (crash(IN_USE), crash(""), False),  # nothing was said
        (crash("", ending="signal 9"), crash("", ending="signal 11"), False),  # all that is known differs
        # the same words about another thing
        (crash("bind(): permission denied (port 80)"), crash("cannot write log file: permission denied"), False),
        (crash("redis: dial tcp: connection refused"), crash("postgres: dial tcp: connection refused"), False),
    ],
)
def test_two_faults_are_one_only_if_nothing_speaks_against_it(one: Likeness, other: Likeness, same: bool) -> None:
    assert (similarity(one, other) >= SIMILAR_ENOUGH) is same


def test_a_hang_is_known_again_whether_http_or_tcp_saw_it() -> None:
    http = Likeness(kind="hang", check="http", reason="timeout")
    assert SIMILAR_ENOUGH <= similarity(http, http.model_copy(update={"check": "tcp"})) < 1


LIKENESSES = st.builds(
    Likeness,
    kind=st.sampled_from(["crash", "crash_loop", "hang", "errors"]),
    check=st.sampled_from(["process", "http"]),
    reason=st.sampled_from(["exited", "timeout", "status", "body"]),
    ending=st.sampled_from(["", "exit 0", "exit 1", "signal 9"]),
    template=st.one_of(st.text(max_size=300), st.sampled_from([template(IN_USE), template(BIND), "KeyError: <value>"])),
    facts=st.lists(st.sampled_from(["a declared file is changed", "a declared folder is missing"])).map(tuple),
)


@given(LIKENESSES, LIKENESSES)
def test_likeness_is_symmetric_bounded_and_whole_for_equals(one: Likeness, other: Likeness) -> None:
    assert similarity(one, other) == similarity(other, one)
    assert 0 <= similarity(one, other) <= 1
    assert similarity(one, one) == 1


def test_a_hostile_line_is_read_in_bounded_time() -> None:
    line = template("a " * 10_000 + "too many " + "pool " * 5_000)
    assert similarity(crash(line), crash(IN_USE)) < SIMILAR_ENOUGH
