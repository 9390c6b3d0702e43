"""What somebody else runs: a person is told, and nothing is done about it, whatever the autonomy."""

from house import Builder

from brainops.contracts.incident import IncidentStatus
from brainops.effects.ledger import EffectLedger


async def test_an_external_service_that_fails_is_told_and_never_acted_upon(builder: Builder) -> None:
    front = {
        "kind": "http",
        "url": f"http://127.0.0.1:{builder.port('elsewhere')}/",
        "interval": "100ms",
        "timeout": "90ms",
    }
    async with builder.house({"elsewhere": {"run": {"kind": "external"}, "checks": {"front": front}}}) as house:
        detail = await house.incident("elsewhere", IncidentStatus.ESCALATED, timeout=40)
        assert detail.row.remedy == ""
        assert await EffectLedger(house.database).list(detail.row.plan_id) == []
