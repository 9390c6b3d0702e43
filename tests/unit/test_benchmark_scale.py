"""The file that the scale benchmark writes, and its figures."""

import math
from pathlib import Path

from benchmarks.scale import JUDGED, Watched, figures, written_config
from brainops.config.load import check_config


def test_written_file_can_be_used() -> None:
    text = written_config(10, [1000, 1001])
    assert check_config(text, Path("brainops.yaml")) == []
    assert text.count("kind: tcp") == 2


def test_figures_are_those_of_two_thousand_endpoints() -> None:
    few = Watched(10, 0.1, 0.1, seconds=10, cpu_seconds=0.1, rss_bytes=1000, due=10, begun=10, on_time=10)
    many = Watched(
        JUDGED, 1, 1, seconds=10, cpu_seconds=2, rss_bytes=1000 + 199_000, due=2000, begun=1999, on_time=1990
    )
    named = figures([few, many])
    assert named["on_time_share"] == 0.995
    assert named["on_time_share_10"] == 1
    assert named["cpu_share"] == 0.2
    assert named["rss_bytes_per_endpoint"] == 100
    assert math.isnan(named["lateness_p99"])
