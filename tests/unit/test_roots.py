"""Which incident is the root, decided purely."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brainops.incidents.roots import Decision, OpenIncident, Scene, decide, transitive

SHOP = {"web": ("api",), "api": ("store",), "store": (), "mail": ()}
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def incident(service: str, number: int = 1, *, seconds: float = 0, is_root: bool = False) -> OpenIncident:
    return OpenIncident(
        plan_id=UUID(int=number),
        workflow_id=f"incident/{service}/{number}",
        service=service,
        opened_at=NOON + timedelta(seconds=seconds),
        is_root=is_root,
    )


def scene(*others: OpenIncident, failing: tuple[str, ...] = ()) -> Scene:
    return Scene(others=others, failing=frozenset(failing))


def test_alone_it_is_the_root_of_itself() -> None:
    assert decide(incident("api"), scene(), SHOP, last_try=False) == Decision()


def test_a_failing_dependency_absorbs_also_through_a_healthy_service_between() -> None:
    store = incident("store", 2)
    assert decide(incident("web"), scene(store), SHOP, last_try=False).into == store


def test_the_deepest_of_several_failing_dependencies_absorbs() -> None:
    api, store = incident("api", 2, seconds=-9, is_root=True), incident("store", 3)
    assert decide(incident("web"), scene(api, store), SHOP, last_try=False).into == store


def test_a_dependency_that_fails_without_an_incident_is_waited_for_until_the_last_try() -> None:
    seen = scene(failing=("store", "web"))
    assert decide(incident("web"), seen, SHOP, last_try=False).wait
    assert decide(incident("web"), seen, SHOP, last_try=True) == Decision()


def test_a_failing_stranger_is_neither_waited_for_nor_absorbed() -> None:
    decided = decide(incident("web"), scene(incident("mail", 2), failing=("mail",)), SHOP, last_try=False)
    assert decided == Decision()


def test_a_root_absorbs_open_dependents_even_those_that_are_roots_already() -> None:
    web, api = incident("web", 2, is_root=True), incident("api", 3)
    decided = decide(incident("store"), scene(web, api, failing=("web", "api", "store")), SHOP, last_try=False)
    assert set(decided.absorbed) == {web, api}
    assert decided.dependents == ("api", "web")


def test_dependents_that_fail_without_an_incident_are_attached() -> None:
    assert decide(incident("store"), scene(failing=("web",)), SHOP, last_try=False).dependents == ("web",)


def test_of_two_incidents_of_one_service_the_older_absorbs() -> None:
    older, younger = incident("api", 1), incident("api", 2, seconds=1)
    assert decide(younger, scene(older), SHOP, last_try=False).into == older
    decided = decide(older, scene(younger), SHOP, last_try=False)
    assert decided.absorbed == (younger,)
    assert decided.dependents == ()


def test_a_root_stays_the_root_when_an_older_incident_of_its_service_asks_late() -> None:
    root = incident("api", 2, seconds=1, is_root=True)
    assert decide(incident("api", 1), scene(root), SHOP, last_try=False).into == root


def test_a_circle_of_dependencies_ends() -> None:
    circle = {"a": ("b",), "b": ("a",)}
    assert transitive("a", circle) == {"b"}
    assert decide(incident("a"), scene(incident("b", 2)), circle, last_try=False).into is not None


@pytest.mark.parametrize("order", list(permutations(("web", "api", "store"))))
def test_in_whichever_order_they_ask_the_store_is_the_only_root(order: tuple[str, ...]) -> None:
    assert _roots(order, SHOP) == {"store"}


@given(
    st.dictionaries(
        st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3, unique=True), min_size=6
    ).map(lambda graph: {name: tuple(other for other in below if other > name) for name, below in graph.items()}),
    st.permutations("abcdef"),
)
def test_the_roots_are_the_failing_services_without_a_failing_dependency(
    dependencies: dict[str, tuple[str, ...]], order: list[str]
) -> None:
    failing = order[:4]
    expected = {name for name in failing if not transitive(name, dependencies) & set(failing)}
    assert _roots(tuple(failing), dependencies) == expected


def _roots(order: tuple[str, ...], dependencies: dict[str, tuple[str, ...]]) -> set[str]:
    """Let incidents of these services ask one after the other, all of them open from the start."""
    waiting = {name: incident(name, number + 1, seconds=number) for number, name in enumerate(order)}
    for name in order:
        if name not in waiting:
            continue
        me = waiting[name]
        others = tuple(other for other in waiting.values() if other is not me)
        decided = decide(me, scene(*others, failing=order), dependencies, last_try=False)
        assert not decided.wait
        if decided.into is not None:
            del waiting[name]
            continue
        for part in decided.absorbed:
            del waiting[part.service]
        waiting[name] = OpenIncident(me.plan_id, me.workflow_id, name, me.opened_at, is_root=True)
    return set(waiting)
