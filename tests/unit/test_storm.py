"""Grouping: which failing checks are part of another incident."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from brainops.config.checks import Check, TcpCheck
from brainops.config.models import Service
from brainops.config.runs import ExternalRun
from brainops.contracts.check import CheckState, CheckStatus
from brainops.incidents.storm import BURST, Grouping, OpenRoot, Verdict

CHECKS: dict[str, Check] = {"front": TcpCheck(port=1), "back": TcpCheck(port=2)}


def service(*depends_on: str) -> Service:
    return Service(run=ExternalRun(kind="external"), checks=CHECKS, depends_on=depends_on)


def shop(dependents: int = 10) -> Grouping:
    """`store` below `api` below many `web…`, and `lone` beside them."""
    webs = {f"web{number}": service("api") for number in range(dependents)}
    return Grouping({"store": service(), "api": service("store"), "lone": service(), **webs})


def note(grouping: Grouping, name: str, check: str = "front", *, failing: bool = True) -> None:
    status = CheckStatus.FAILING if failing else CheckStatus.PASSING
    grouping.note(CheckState(service=name, check=check, status=status, since=datetime.now(UTC)))


def root(name: str, check: str = "front", *, is_root: bool = True) -> OpenRoot:
    return OpenRoot(uuid4(), name, check, is_root)


def test_a_service_whose_dependencies_pass_gets_its_incident_at_once() -> None:
    grouping = shop()
    for name in ("lone", "store", "web0", "web1"):
        note(grouping, name)
        expected = Verdict.JOIN if name.startswith("web") else Verdict.OPEN
        assert grouping.verdict(name, "front") is expected
    note(grouping, "store", failing=False)
    assert grouping.verdict("web0", "front") is Verdict.OPEN


def test_what_fails_above_a_failing_dependency_is_part_of_it_also_through_one_that_passes() -> None:
    grouping = shop()
    note(grouping, "store")
    note(grouping, "web0")
    assert grouping.verdict("web0", "front") is Verdict.JOIN


def test_a_second_check_of_a_service_is_part_of_its_incident() -> None:
    grouping = shop()
    note(grouping, "lone", "front")
    note(grouping, "lone", "back")
    assert grouping.verdict("lone", "back") is Verdict.JOIN


def test_of_many_that_fail_before_their_root_only_the_first_few_get_incidents() -> None:
    grouping = shop(dependents=50)
    verdicts: list[Verdict] = []
    for number in range(50):
        note(grouping, f"web{number}")
        verdicts.append(grouping.verdict(f"web{number}", "front"))
    assert verdicts.count(Verdict.OPEN) == BURST
    assert verdicts[BURST:] == [Verdict.WAIT] * (50 - BURST)
    note(grouping, "store")
    assert grouping.verdict("web49", "front") is Verdict.JOIN


def test_what_waits_for_its_root_waits_no_longer_than_the_root_needs_to_be_believed() -> None:
    grouping = shop()
    for number in range(10):
        note(grouping, f"web{number}")
    assert grouping.verdict("web9", "front") is Verdict.WAIT
    assert timedelta(seconds=3) <= grouping.patience("web9", "front") <= timedelta(seconds=10)


def test_alerts_go_to_the_incident_of_their_service_else_to_the_deepest_below() -> None:
    grouping = shop()
    api, store, web = root("api"), root("store"), root("web1")
    placed = grouping.place(
        [("web0", "front"), ("web1", "back"), ("web1", "front"), ("lone", "front")], [api, store, web]
    )
    assert placed == {("web0", "front"): store.plan_id, ("web1", "back"): web.plan_id}


def test_of_two_incidents_of_a_service_the_root_takes_the_alerts() -> None:
    grouping = shop()
    undecided, decided = root("store", "back", is_root=False), root("store", "front")
    assert grouping.place([("api", "front")], [undecided, decided]) == {("api", "front"): decided.plan_id}


NAMES = [f"s{number}" for number in range(8)]


@st.composite
def graphs(draw: st.DrawFn) -> Grouping:
    """Services that depend on earlier ones."""
    depends = {
        name: draw(st.sets(st.sampled_from(NAMES[:index]))) if index else set[str]() for index, name in enumerate(NAMES)
    }
    return Grouping({name: service(*sorted(below)) for name, below in depends.items()})


@given(
    graphs(), st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(sorted(CHECKS)), st.booleans()), max_size=60)
)
def test_the_deepest_of_what_fails_is_never_part_of_another_service(
    grouping: Grouping, changes: list[tuple[str, str, bool]]
) -> None:
    failing: set[tuple[str, str]] = set()
    for name, check, fails in changes:
        note(grouping, name, check, failing=fails)
        (failing.add if fails else failing.discard)((name, check))
    deepest = min((name for name, _ in failing), key=NAMES.index, default="")
    checks = [check for name, check in failing if name == deepest]
    for check in checks:
        assert (grouping.verdict(deepest, check) is Verdict.JOIN) == (len(checks) > 1)


@given(graphs(), st.lists(st.sampled_from(NAMES), unique=True), st.lists(st.sampled_from(NAMES), unique=True))
def test_an_alert_is_only_ever_part_of_an_open_incident_of_its_service_or_below(
    grouping: Grouping, failing: list[str], opened: list[str]
) -> None:
    roots = [root(name) for name in opened]
    owner: dict[UUID, str] = {one.plan_id: one.service for one in roots}
    placed = grouping.place([(name, "back") for name in failing], roots)
    for (name, _), plan in placed.items():
        assert NAMES.index(owner[plan]) <= NAMES.index(name)
    for name in failing:
        if name in opened:
            assert owner[placed[name, "back"]] == name
