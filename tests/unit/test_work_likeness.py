"""Work that is offered in other words, against what was done, claimed, planned or taken back."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.contracts.message import Role
from brainops.memory.understanding.model import Event
from brainops.memory.work_likeness import WordVectors, WorkItem, WorkMatch, ranked, same_work
from brainops.memory.work_reports import WorkDone, done_work
from brainops.memory.work_states import WorkState, state_of
from brainops.memory.work_words import words

SAME = [
    ("add dark mode", "implement dark theme"),
    ("add a dark mode to the settings page", "introduce a dark theme on the settings page"),
    ("fix the crash on startup when the config is missing", "repair the startup crash with a missing configuration"),
    ("remove the unused feature flags", "delete feature flags that nobody uses"),
    ("raise the upload limit to 50 MB", "increase the maximum upload size to 50 MB"),
    ("write tests for the csv importer", "cover the CSV importer with tests"),
    ("speed up the product search", "make the product search faster"),
    ("upgrade Django to 4.2", "update to Django 4.2"),
    ("roll out v2.3 to production", "deploy v2.3 to prod"),
    ("rotate the signing key", "replace the signing key"),
    ("answer the customer about the late delivery", "reply to the customer about his late delivery"),
    ("refund order 4711", "give the money back for order 4711"),
    ("drop the column legacy_id from accounts", "remove legacy_id from the accounts table"),
    ("migrate the sessions table to the new schema", "move sessions table over to the new schema"),
    ("turn off verbose logging in the gateway", "disable the gateway's verbose logs"),
    ("renew the certificate of mail.example.org", "get a new TLS certificate for mail.example.org"),
    ("document how to restore a backup", "write a guide on restoring backups"),
    ("split the payment module into two packages", "divide the payment module in two packages"),
    ("investigate why the nightly export fails", "find out the cause of the failing nightly export"),
    ("alert when the disk of db-2 is above 90 %", "add an alarm for db-2's disk at 90 %"),
    ("merge the duplicate contacts", "combine contacts that exist twice"),
    ("rename the service mailer to courier", "call the mailer service courier"),
    ("schedule a weekly vacuum of the events table", "run vacuum on the events table weekly by cron"),
    ("mask card numbers in the logs", "hide credit card numbers in log output"),
    ("let users log in with Google", "support sign-in via Google"),
    ("cache the exchange rates for an hour", "keep exchange rates in a cache for one hour"),
    ("rebuild the search index every night", "nightly rebuild of the search index"),
    ("retry failed webhooks", "repeat webhooks that failed"),
    ("send the reminder mails for open invoices", "mail reminders about open invoices"),
    ("paginate the list of audit events", "add paging to the audit event list"),
    ("make the timeout of the mailer configurable", "turn the mailer timeout into a setting"),
    ("encrypt the backups at rest", "add encryption for stored backups"),
]

DIFFERENT = [
    ("add dark mode to the admin tool", "add dark mode to the shop"),
    ("restart web-3", "restart web-4"),
    ("drop the index on visits", "create the index on visits"),
    ("index the visits table by patient", "index the recipes table by patient"),
    ("upgrade Postgres to 16", "upgrade Redis to 7"),
    ("raise the request limit of Acme", "raise the request limit of Globex"),
    ("raise the memory limit of the worker", "lower the memory limit of the worker"),
    ("enable two-factor login", "disable two-factor login"),
    ("refund order 4711", "refund order 4712"),
    ("answer ticket 811", "answer ticket 812"),
    ("deploy v2.3 to staging", "deploy v2.3 to production"),
    ("export the customer list as csv", "import the customer list from csv"),
    ("write the parser for invoices", "write tests for the parser of invoices"),
    ("rename the column state to status", "add an index on the column status"),
    ("mute the disk alert", "unmute the disk alert"),
    ("rotate the API key of the mailer", "rotate the API key of the payment provider"),
    ("fix the login page on Safari", "fix the login page on Firefox"),
    ("migrate the users table", "migrate the sessions table"),
    ("translate the help pages to French", "translate the help pages to Spanish"),
    ("back up the wiki", "restore the wiki from the backup"),
    ("grant Ines access to the cluster", "revoke Ines' access to the cluster"),
    ("roll out the new pricing page", "roll back the new pricing page"),
    ("speed up the search page", "redesign the search page"),
    ("document the payment API", "deprecate the payment API"),
    ("send the invoice to Brandt", "send the reminder to Keller"),
    ("move the logs to the new bucket", "delete the logs in the old bucket"),
    ("set the timeout of the gateway to 30 seconds", "set the timeout of the gateway to 90 seconds"),
    ("add a health check to the scheduler", "add a health check to the mailer"),
    ("clean up the temp files on build-1", "clean up the temp files on build-7"),
    ("add pagination to the audit list", "add sorting to the audit list"),
    ("investigate the slow checkout", "investigate the failing checkout emails"),
    ("replace the disk of nas-2", "replace the fan of nas-2"),
]


def _is_same(offered: str, claimed: str) -> bool:
    return same_work(offered, [WorkItem(text=claimed)]) is not None


def test_pairs_of_work_are_told_apart() -> None:
    found = sum(_is_same(offered, claimed) for offered, claimed in SAME)
    wrong = [pair for pair in DIFFERENT if _is_same(*pair)]
    assert found / len(SAME) >= 0.8
    assert found / (found + len(wrong)) >= 0.9, wrong


def test_direction_of_a_pair_hardly_matters() -> None:
    pairs = [*SAME, *DIFFERENT]
    assert sum(_is_same(one, other) == _is_same(other, one) for one, other in pairs) / len(pairs) >= 0.9


def _session(*said: tuple[str, str]) -> list[Event]:
    begin = datetime(2026, 3, 2, 9, tzinfo=UTC)
    return [
        Event(
            at=begin + timedelta(minutes=minute),
            role=Role(role),
            tool="run_command" if role == "tool" else "",
            text=text,
            source=f"m{minute}",
        )
        for minute, (role, text) in enumerate(said)
    ]


def _done(offered: str, *said: tuple[str, str]) -> WorkMatch | None:
    return same_work(offered, done_work(_session(*said)))


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        pytest.param(
            "Increase the size of the connection pool.",
            [("user", "the api runs out of connections"), ("assistant", "Raised the connection pool from 10 to 40.")],
            id="reported with the verb first",
        ),
        pytest.param(
            "Add a dark theme to the settings page.",
            [("user", "add dark mode to the settings page"), ("assistant", "Done, and the snapshot tests pass.")],
            id="the request says what, the answer that",
        ),
        pytest.param(
            "Have the sitemap built daily.",
            [("user", "the sitemap is stale"), ("assistant", "A timer rebuilds the sitemap every day now.")],
            id="told as how things are now",
        ),
        pytest.param(
            "Switch the image proxy to HTTP/2.",
            [
                ("assistant", "I'd move the image proxy to HTTP/2, it halves the round trips."),
                ("user", "do it"),
                ("assistant", "The image proxy runs on HTTP/2 now."),
            ],
            id="planned first, reported later",
        ),
        pytest.param(
            "Roll migration 31 out.",
            [
                ("user", "is migration 31 harmless?"),
                ("assistant", "Yes, migration 31 adds one index."),
                ("user", "run it"),
                ("tool", "$ dbtool apply 31\napplied 31 in 40 ms"),
            ],
            id="a command that went through",
        ),
        pytest.param(
            "Let Ms Okonkwo know about the delay.",
            [("user", "tell Okonkwo about the delay"), ("assistant", "Wrote to her: two days later, with an apology.")],
            id="an answer sent",
        ),
        pytest.param(
            "Find out why invoices carry the wrong date.",
            [
                ("user", "invoices carry the date of the day before"),
                ("assistant", "It's the container: the clock runs in UTC, so the date changes at two in the morning."),
                ("assistant", "The image isn't rebuilt yet."),
            ],
            id="a cause was sought and found",
        ),
        pytest.param(
            "Get rid of the flicker on the departure boards.",
            [
                ("user", "the departure boards flicker since Monday"),
                ("assistant", "Reading the driver."),
                ("user", "by the way, lunch is at one"),
                ("assistant", "The refresh interval was half of what the panel can do."),
                ("user", "and now, is it any better?"),
                ("assistant", "With 40 ms no flicker for an hour on any board."),
            ],
            id="told by its complaint, settled by a measurement",
        ),
        pytest.param(
            "Free the disk of the build machine.",
            [
                (
                    "assistant",
                    "build-2 can't unpack, its disk is full. Old layers are deleted nightly now, 80 GB are free.",
                )
            ],
            id="problem and cure in one message",
        ),
    ],
)
def test_finished_work_is_recognised(offered: str, said: Sequence[tuple[str, str]]) -> None:
    match = _done(offered, *said)
    assert match is not None
    assert match.item.state is WorkState.DONE
    assert 0 < match.score <= 1
    assert match.why.startswith("done on 2026-03-02; agrees in ")


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        pytest.param(
            "Add a dark theme to the settings page.",
            [("user", "could we have dark mode on the settings page?"), ("assistant", "We could, after the release.")],
            id="planned",
        ),
        pytest.param(
            "Delete the old exports in the bucket.",
            [("assistant", "Deleting the old exports waits for the approval of legal.")],
            id="waits",
        ),
        pytest.param(
            "Patch the kernel on node-4.",
            [("assistant", "Kernel patched on three of four. node-4 carries the leader, so it is for next week.")],
            id="the sibling that is left",
        ),
        pytest.param(
            "Enable the query cache.",
            [("user", "get rid of the query cache"), ("assistant", "Disabled the query cache.")],
            id="the opposite",
        ),
        pytest.param(
            "Use the new tokenizer in search.",
            [
                ("assistant", "Search uses the new tokenizer now."),
                ("user", "results are worse, take it out"),
                ("assistant", "Reverted, search is back on the old tokenizer."),
            ],
            id="taken back",
        ),
        pytest.param(
            "Refund invoice 20417.",
            [("assistant", "Refunded invoice 20415, the customer was told.")],
            id="another number",
        ),
        pytest.param(
            "Write the release notes.",
            [("assistant", "The build is green."), ("assistant", "Release notes aren't written yet.")],
            id="reported as missing",
        ),
        pytest.param(
            "Set up a mirror of the package index.",
            [("user", "the login page is slow"), ("assistant", "Cached the avatar, login page answers in 80 ms.")],
            id="never spoken of",
        ),
        pytest.param(
            "Find out why the mailer drops attachments.",
            [
                ("user", "the mailer drops attachments"),
                ("assistant", "Probably the gateway strips them, I'm not sure."),
            ],
            id="a cause only guessed at",
        ),
        pytest.param(
            "Train the remaining shops on the new scanner.",
            [("assistant", "The shop in Ghent was trained on the new scanner.")],
            id="a part and not the rest",
        ),
        pytest.param(
            "Deploy the new gateway.",
            [("user", "until the audit is through nobody deploys the new gateway"), ("assistant", "Noted.")],
            id="finished only in a condition",
        ),
        pytest.param(
            "Drop the audit table.",
            [("assistant", "Let me look at the audit table first."), ("tool", "$ dbtool drop audit\nerror: denied")],
            id="a command that failed",
        ),
    ],
)
def test_unfinished_and_other_work_may_be_done(offered: str, said: Sequence[tuple[str, str]]) -> None:
    assert _done(offered, *said) is None


@pytest.mark.parametrize("offered", ["run the tests", "commit this please", "go on", "Is there a test for it?"])
def test_what_is_done_every_day_may_be_done_again(offered: str) -> None:
    said = [("user", "run the tests and commit"), ("assistant", "The tests ran and pass, committed. It goes on now.")]
    assert _done(offered, *said) is None


def test_claim_of_somebody_is_seen_before_it_is_done() -> None:
    claim = WorkItem(key="c1", text="implement dark theme")
    match = same_work("add dark mode", [WorkItem(text="translate the manual"), claim])
    assert match is not None
    assert match.item == claim


def test_open_todo_is_free_to_be_taken() -> None:
    assert same_work("add dark mode", [WorkItem(text="implement dark theme", state=WorkState.OPEN)]) is None


def test_later_plan_to_redo_frees_finished_work() -> None:
    said = _session(
        ("assistant", "Rotated the signing key."), ("assistant", "Rotating the signing key again is still open.")
    )
    assert same_work("Replace the signing key.", done_work(said[:1])) is not None
    assert same_work("Replace the signing key.", done_work(said)) is None


@pytest.mark.parametrize(
    ("sentence", "state"),
    [
        ("Merged and deployed.", WorkState.DONE),
        ("I've sent the offer.", WorkState.DONE),
        ("The importer now reads gzip.", WorkState.DONE),
        ("The tests pass.", WorkState.DONE),
        ("Not yet merged.", WorkState.OPEN),
        ("The docs are still missing.", WorkState.OPEN),
        ("The index isn't built.", WorkState.OPEN),
        ("I'd split the module.", WorkState.PLANNED),
        ("Could we split the module?", WorkState.PLANNED),
        ("Then the tables.", WorkState.PLANNED),
        ("Blocked by the vendor.", WorkState.WAITING),
        ("Nothing goes out before she has signed.", WorkState.WAITING),
        ("Rolled back to v7.", WorkState.REVERTED),
        ("Let me look at the parser.", None),
        ("The parser is 300 lines long.", None),
        ("The cable is ordered.", WorkState.WAITING),
        ("I suspect the cache was cleared.", WorkState.PLANNED),
        ("Lost rows can be read back from the journal.", WorkState.PLANNED),
        ("No alerts left on the board.", WorkState.DONE),
        ("The loader stops now when the key is missing.", WorkState.DONE),
        ("Never deploy on a Friday.", None),
        ("Is it merged?", None),
    ],
)
def test_tense_and_modality_give_the_state(sentence: str, state: WorkState | None) -> None:
    assert state_of(sentence) is state


def test_report_keeps_its_source_and_request() -> None:
    (report,) = done_work(_session(("user", "rename the flag"), ("assistant", "Renamed."), ("user", "thanks")))[-1:]
    assert isinstance(report, WorkDone)
    assert (report.text, report.sources, report.state) == ("Renamed.", ("m1",), WorkState.DONE)
    assert "rename the flag" in report.context


def test_identifier_is_a_name_and_its_words() -> None:
    found = {word.stem: word.role for word in words("Turn `retry_limit` off on node-4")}
    assert found["retry_limit"] == "name"
    assert found["retri"] == "thing"
    assert found["node-4"] == "name"
    assert found["turn_off"] == "action"


def test_vectors_find_words_that_no_table_has() -> None:
    def embed(texts: Sequence[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        near = {"avatar": (1.0, 0.0), "portrait": (0.9, 0.1)}
        return np.asarray([near.get(text, (0.0, 0.0)) for text in texts], dtype=np.float32)

    known = [WorkItem(text="crop the portrait")]
    assert same_work("crop the avatar", known) is None
    assert same_work("crop the avatar", known, WordVectors(embed)) is not None


@given(st.text(max_size=400), st.lists(st.text(max_size=200), max_size=4))
def test_any_text_is_compared(offered: str, texts: list[str]) -> None:
    known = [WorkItem(text=text, context=offered, told=True) for text in texts]
    assert all(each.score >= 0 for each in ranked(offered, known))
    assert same_work(offered, []) is None
    done_work(_session(*((role, text) for role in ("user", "assistant", "tool") for text in texts)))
