"""What peers came to, as figures."""

from benchmarks.peers import Tries, figures


def test_what_was_not_healed_is_a_share_and_no_time() -> None:
    never = float("inf")
    found = figures(
        {"docker": Tries({"crash": [0.2, 0.4, 0.3], "hang": [never, never]}), "monit": Tries({"hang": [9.0, never]})}
    )
    assert found == {
        "docker_crash_healed_share": 1.0,
        "docker_crash_p50": 0.3,
        "docker_hang_healed_share": 0.0,
        "monit_hang_healed_share": 0.5,
        "monit_hang_p50": 9.0,
    }
