"""How many probes may be on their way, and what the process's limit of descriptors becomes for it."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from brainops.checks.descriptors import concurrent_probes
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4000))
print(concurrent_probes(int(sys.argv[1])), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("checks", "at_once", "limit"),
    [
        (0, 1, 1024),
        (100, 100, 1024),  # enough: services inherit the limit, so it stays
        (1000, 1000, 2512),
        (5000, 1744, 4000),  # more than may be had: it is said
    ],
)
def test_limit_is_raised_as_far_as_the_checks_need_it(checks: int, at_once: int, limit: int) -> None:
    command = [sys.executable, "-c", PROGRAM, str(checks)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert printed[-1] == f"{at_once} {limit}"
    assert ("ulimit -n" in "".join(printed)) == (at_once < checks)
