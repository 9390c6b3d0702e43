"""The footprint's figures follow from what was seen at both ends."""

from benchmarks.footprint import Disk, Measured, Usage, figures

BEFORE = {
    "temporal": Usage(processes=1, rss=100, pss=90, cpu=10.0),
    "postgres": Usage(processes=9, rss=50, pss=20, cpu=1.0),
}
AFTER = {
    "temporal": Usage(processes=1, rss=120, pss=95, cpu=12.0),
    "postgres": Usage(processes=9, rss=40, pss=20, cpu=2.0),
}


def test_cpu_and_disk_are_what_was_added_and_memory_is_the_worst_moment() -> None:
    measured = Measured(
        seconds=600.0,
        before=BEFORE,
        after=AFTER,
        worst={"temporal": Usage(rss=150, pss=99), "postgres": Usage(rss=50, pss=20)},
        disk_before=Disk(kept={"postgres": 1000}, wal=64),
        disk_after=Disk(kept={"postgres": 1500, "logs": 100}, wal=96),
    )
    found = figures(measured)
    assert (found["rss_bytes"], found["pss_bytes"], found["wal_bytes"]) == (200, 119, 96)
    assert found["cpu_share"] == 3.0 / 600
    assert found["disk_bytes_per_day"] == 600 * 144
