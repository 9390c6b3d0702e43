"""Mistakes of checks that are ones only beside something else, and what a check names and the machine has not."""

from pathlib import Path

import pytest

from brainops.config.check_rules import find_check_missing
from brainops.config.document import Plain
from brainops.config.load import check_config
from brainops.config.mistakes import Finding

FILE = """\
services:
  web:
    run: {kind: external}
    checks:
      f:
"""
"""Five lines."""
HTTP = FILE + "        kind: http\n        url: http://x/\n"
"""Seven lines."""
HTTPS = FILE + "        kind: http\n        url: https://x/\n"

CASES = [
    (HTTP + '        conditions: ["[STATUSS] == 200"]', 8, "conditions.0", "did you mean [STATUS]? known: [STATUS], [RESP"),
    (HTTP + '        conditions:\n          - "[STATUS] == 200"\n          - "[MEMORY] < 1GB"', 10, "conditions.1", "known: [STA"),
    (HTTP + '        conditions: ["[STATUS] = 200"]', 8, "conditions.0", "write ==, !=, <"),
    (HTTP + '        conditions: ["[RESPONSE_TIME] < 300"]', 8, "conditions.0", "write a duration such as 300ms"),
    (HTTP + '        conditions: ["[CERTIFICATE_EXPIRATION] > 14d"]', 8, "conditions.0", "write url: https://…"),
    (HTTP + "        conditions: [[STATUS] == 200]", 8, None, None),
    (HTTP + "        certificate_valid_for: 14d", 8, "certificate_valid_for", "write url: https://…, or remove it"),
    (HTTPS + "        client_key: k.pem", 8, "client_key", "add client_certificate"),
    (HTTPS + "        ca: ca.pem\n        verify: false", 8, "ca", "remove one of the two"),
    (HTTP + "        method: HEAD\n        expect_body: ok", 9, "expect_body", "write method: GET"),
    (HTTP + '        headers: {"X Y": z}', 8, "headers.X Y", "use letters, digits and -"),
    (HTTP + '        headers: {X: "a\\nb"}', 8, "headers.X", "write it on one line"),
    (HTTP + "        headers: {X: '${A'}", 8, "headers.X", "write ${NAME}"),
    (HTTP + "        method: POST\n        body: '${no name}'", 9, "body", "write ${NAME}"),
    (FILE + "        kind: dns\n        name: a..b", 7, "name", "write one such as shop.example.com"),
    (FILE + "        kind: dns\n        name: x\n        server: ns.example.com", 8, "server", "such as 192.0.2.53"),
    (FILE + '        kind: host\n        conditions: ["[DISK_USED] < 90"]', 7, "conditions.0", "a percentage such as 90%"),
    (FILE + '        kind: heartbeat\n        heartbeat: j\n        period: 1h\n        conditions: ["[STATUS] == 1"]', 9,
     "conditions.0", "known: [AGE]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "field", "remedy"), CASES)
def test_mistake_is_told_with_its_line_and_a_remedy(
    text: str, line: int, field: str | None, remedy: str | None
) -> None:
    mistakes = check_config(text, Path("brainops.yaml"))
    if field is None:
        assert mistakes[0].line == line
        return
    [mistake] = mistakes
    assert (mistake.line, mistake.field) == (line, f"services.web.checks.f.{field}")
    assert remedy is not None
    assert remedy in mistake.remedy


def test_a_package_knows_its_own_values() -> None:
    text = FILE + '        kind: plugin\n        use: queue\n        conditions: ["[DEPTH] < 5"]'
    assert check_config(text, Path("brainops.yaml")) == []


def missing(folder: Path, **check: Plain) -> list[Finding]:
    return list(find_check_missing(("f",), {"kind": "http", "url": "https://x/", **check}, folder, {"SET": "1"}))


def test_what_the_machine_has_not_is_told(tmp_path: Path) -> None:
    (tmp_path / "noise.pem").write_bytes(b"\xff")
    assert missing(tmp_path, headers={"A": "${SET}"}) == []
    [header] = missing(tmp_path, headers={"A": "${SET} ${UNSET}"})
    assert (header.path, header.message) == (("f", "headers", "A"), "the variable UNSET is not set")
    [authority] = missing(tmp_path, ca="noise.pem")
    assert authority.path == ("f", "ca")
    assert "holds no certificates that can be read" in authority.message
    [absent] = missing(tmp_path, client_certificate="absent.pem")
    assert (absent.path, absent.remedy) == (
        ("f", "client_certificate"),
        "correct the path, or let the user of BrainOps read it",
    )
