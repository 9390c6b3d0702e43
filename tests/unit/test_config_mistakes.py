"""Wrong files: each mistake with its line, its field and a remedy, all of a file at once."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from brainops.config.load import Mistake, check_config, find_mistakes, load_config, reload_config
from brainops.errors import ConfigError

SERVICE = """\
services:
  web:
    run:
      command: [python3, -m, http.server]
"""
"""Four lines; rows of the table go on with line 5 of it."""

TWO = """\
services:
  api:
    run: {command: [python3]}
  web:
    run: {command: [python3]}
"""
"""Five lines."""

CASES = [
    # keys
    ("servces: {}", 1, "servces", "did you mean services?"),
    ("apy: {port: 1}", 1, "apy", "did you mean api?"),
    (SERVICE + "    chekcs: {}", 5, "services.web.chekcs", "did you mean checks?"),
    (SERVICE + "    zzz: {}", 5, "services.web.zzz", "known here: host, run"),
    (SERVICE + "      comand: [x]", 5, "services.web.run.comand", "did you mean command?"),
    (SERVICE + "    autonomy: act\n    autonomy: observe", 6, "services.web.autonomy", "keep one"),
    (SERVICE + "    checks:\n      f: {kind: http, url: http://x/, intervall: 1s}", 6, "services.web.checks.f.intervall",
     "did you mean interval?"),
    (SERVICE + "    checks:\n      f:\n        kind: tcp\n        port: 1\n        url: http://x/", 9,
     "services.web.checks.f.url", "known here: interval, timeout, fail_after, pass_after, conditions, kind, host, port"),
    ("services:\n  Web:\n    run: {command: [python3]}", 2, "services.Web", "lower-case letters"),
    ("agents:\n  system-monitor: {}", 2, "agents.system-monitor", "did you mean system_monitor?"),
    # missing
    ("services:\n  web: {}", 2, "services.web.run", "add run"),
    ("services:\n  web:\n    run: {}", 3, "services.web.run.command", "add command"),
    (SERVICE + "    checks:\n      f: {url: http://x/}", 6, "services.web.checks.f.kind", "add kind: command, dns, health"),
    (SERVICE + "    checks:\n      f: {kind: http}", 6, "services.web.checks.f.url", "add url"),
    # words and values
    (SERVICE + "    autonomy: acct", 5, "services.web.autonomy", "did you mean act? write observe, suggest"),
    (SERVICE + "    autonomy: {restrt: act}", 5, "services.web.autonomy.restrt", "did you mean restart?"),
    (SERVICE + "    autonomy: {restart: maybe}", 5, "services.web.autonomy.restart", "write observe, suggest"),
    (SERVICE + "    autonomy: [act]", 5, "services.web.autonomy", "write observe, suggest"),
    (SERVICE + "    checks:\n      f: {kind: htp, url: http://x/}", 6, "services.web.checks.f.kind", "did you mean http?"),
    (SERVICE + "    keep_good_after: 30", 5, "services.web.keep_good_after", "write a number with its unit"),
    (SERVICE + "    keep_good_after: soon", 5, "services.web.keep_good_after", "write a number with its unit"),
    (SERVICE + "    limits:\n      memory: 200 apples", 6, "services.web.limits.memory", "such as 200MB"),
    (SERVICE + "    checks:\n      f: {kind: tcp, port: 80, interval: 1ms}", 6, "services.web.checks.f.interval",
     "write at least 20ms"),
    (SERVICE + "    checks:\n      f: {kind: tcp, port: 80, timeout: 2m}", 6, "services.web.checks.f.timeout", "write at most 1m"),
    (SERVICE + "    checks:\n      f: {kind: tcp, port: 99999}", 6, "services.web.checks.f.port", "write at most 65535"),
    (SERVICE + "    checks:\n      f: {kind: tcp, port: http}", 6, "services.web.checks.f.port", "write"),
    (SERVICE + "    checks:\n      f: {kind: http, url: 'x:80'}", 6, "services.web.checks.f.url", "http://127.0.0.1:8080/"),
    (SERVICE + "    checks:\n      f: {kind: http, url: 'http://x:99999/'}", 6, "services.web.checks.f.url", "write one such as"),
    (SERVICE + "    checks:\n      f: {kind: http, url: 'http://[x/'}", 6, "services.web.checks.f.url", "write one such as"),
    (SERVICE + "    checks:\n      f: {kind: http, url: http://x/, fail_after: 0}", 6, "services.web.checks.f.fail_after",
     "write at least 1"),
    (SERVICE + "    checks: [http]", 5, "services.web.checks", "write a mapping"),
    ("services:\n  web: python3", 2, "services.web", "write a mapping with the keys host, run"),
    ("services:\n  web:\n    run: {command: []}", 3, "services.web.run.command", "write a list"),
    ("services:\n  web:\n    run: {command: python3 x.py}", 3, "services.web.run.command", "write a list"),
    ("services:\n  web:\n    run: {command: [python3, 80]}", 3, "services.web.run.command.1", "put it in double quotes"),
    (SERVICE + "      environment:\n        PORT: 80", 6, "services.web.run.environment.PORT", "put it in double quotes"),
    (SERVICE + "      environment:\n        DEBUG: true", 6, "services.web.run.environment.DEBUG", "put it in double quotes"),
    ("services:\n  web:\n    run: {kind: podman, command: [python3]}", 3, "services.web.run.kind", "write command, compose"),
    ("agents: {system_monitor: {budget: {daily_usd: -1}}}", 1, "agents.system_monitor.budget.daily_usd", "at least 0"),
    ("agents: {system_monitor: {budget: {daily_usd: .nan}}}", 1, "agents.system_monitor.budget.daily_usd", "write"),
    ("retention: {raw_samples: 1m}", 1, "retention.raw_samples", "write at least 1h"),
    ("- a\n- b", 1, "", "write a mapping with the keys services"),
    # between services
    (TWO + "    depends_on: [apo]", 6, "services.web.depends_on.0", "did you mean api?"),
    (TWO + "    depends_on: [zebra]", 6, "services.web.depends_on.0", "declare it"),
    (TWO + "    depends_on: [api, web]", 6, "services.web.depends_on.1", "remove it"),
    (SERVICE + "    host: other", 5, "services.web.host", "write local"),
    (SERVICE + "    ports: [80]\n  api:\n    run: {command: [python3]}\n    ports: [81, 80]", 8, "services.api.ports.1",
     "a port of its own"),
    # within a service
    (SERVICE + "    remedies: {only: [reboot]}", 5, "services.web.remedies.only.0", "known: start, restart"),
    (SERVICE + "    remedies: {never: [restrt]}", 5, "services.web.remedies.never.0", "did you mean restart?"),
    (SERVICE + "    remedies: {only: [start], never: [start]}", 5, "services.web.remedies.never", "keep it in one"),
    (SERVICE + "    folders:\n      - {path: x, clean: ['*']}", 6, "services.web.folders.0.limit", "add limit"),
    (SERVICE + "    folders:\n      - {path: x, limit: 1MB, target: 2MB}", 6, "services.web.folders.0.target", "less than"),
    (SERVICE + "    folders:\n      - {path: x, limit: 1MB, clean: ['../*']}", 6, "services.web.folders.0.clean.0", "inside it"),
    (SERVICE + "    files:\n      - path: ~/x", 6, "services.web.files.0.path", "write the whole path"),
    (SERVICE + "    checks:\n      process: {kind: tcp, port: 1}", 6, "services.web.checks.process", "another name"),
    (SERVICE + "    checks:\n      a: {kind: process}\n      b: {kind: process}", 7, "services.web.checks.b", "keep one"),
    (SERVICE + "    checks:\n      f: {kind: http, url: http://x/, max_latency: 3s}", 6, "services.web.checks.f.max_latency",
     "raise timeout"),
    (SERVICE + "      environment: {A: '${B C}'}", 5, "services.web.run.environment.A", "write ${NAME}"),
    (SERVICE + "      environment: {A: '${B'}", 5, "services.web.run.environment.A", "write ${NAME}"),
    # YAML itself
    ("services:\n\tweb: {}", 2, "", "indent with spaces"),
    ("services:\n  web: {", 2, "", "mend the line"),
    ("services: 'never closed", 1, "", "mend the line"),
    ("services: *nobody", 1, "", "mend the line"),
    ("a: 1\n---\nb: 2", 2, "", "mend the line"),
    (SERVICE + "    ports: !!python/object:os.system []", 5, "services.web.ports", "without a tag"),
    (SERVICE + "    host: !!binary aGk=", 5, "services.web.host", "without a tag"),
    ("services: &a\n  web: *a", 1, "services.web", "instead of the alias"),
    ("services:\n  ? [a]\n  : b", 2, "services", "plain word"),
    ("x\x00y", 1, "", "plain UTF-8"),
    ("a: " + "[" * 100, 1, "", "flatter"),
]  # fmt: skip


def mistakes_of(text: str) -> list[Mistake]:
    return check_config(text, Path("brainops.yaml"))


@pytest.mark.parametrize(
    ("text", "line", "field", "remedy"), CASES, ids=[f"{case[2]}-{case[3][:20]}" for case in CASES]
)
def test_mistake_is_told_with_line_field_and_remedy(text: str, line: int, field: str, remedy: str) -> None:
    mistakes = mistakes_of(text)
    found = [mistake for mistake in mistakes if mistake.field == field]
    assert found, mistakes
    assert (found[0].line, found[0].file) == (line, "brainops.yaml")
    assert remedy in found[0].remedy
    assert len(mistakes) == 1, mistakes


def test_all_mistakes_of_a_file_are_told_at_once_in_its_order() -> None:
    text = """\
services:
  api:
    run: {command: [python3, 1]}
    depends_on: [web]
    autonomy: acct
  web:
    run: {}
    depends_on: [api, stor]
    checks:
      front: {kind: http, url: http://x/, intervall: 5}
    remedies: {never: [reboot]}
api: {port: -1}
agnts: {}
"""
    assert [(mistake.line, mistake.field) for mistake in mistakes_of(text)] == [
        (3, "services.api.run.command.1"),
        (4, "services.api.depends_on.0"),
        (5, "services.api.autonomy"),
        (7, "services.web.run.command"),
        (8, "services.web.depends_on.1"),
        (10, "services.web.checks.front.intervall"),
        (11, "services.web.remedies.never.0"),
        (12, "api.port"),
        (13, "agnts"),
    ]


def test_circle_of_dependencies_is_shown() -> None:
    parts = [
        f"  {name}:\n    run: {{command: [python3]}}\n    depends_on: [{on}]\n" for name, on in ("ab", "bc", "ca", "da")
    ]
    (mistake,) = mistakes_of("services:\n" + "".join(parts))
    assert mistake.message == "the services depend on each other in a circle: a → b → c → a"
    assert (mistake.line, mistake.column) == (4, 18)


def test_column_points_at_the_value_and_for_unknown_keys_at_the_key() -> None:
    value, key = mistakes_of(SERVICE + "    autonomy: acct\n    hots: x")
    assert (value.column, key.column) == (15, 5)


def test_aliases_without_end_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (mistake,) = mistakes_of("\n".join(lines))
    assert "unfolds to more than" in mistake.message


def test_anchors_and_merges_are_understood() -> None:
    text = SERVICE.replace("run:", "run: &run") + "  api:\n    run:\n      <<: *run\n      stop_timeout: 1s\n"
    assert mistakes_of(text) == []


def test_secret_is_in_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_SECRET", "hunter2")
    text = (
        SERVICE
        + "      environment:\n        A: [hunter2]\n        B: ${SHOP_SECRET}${NOT_SET_ANYWHERE}\n"
        + "    checks:\n      f: {kind: http, url: ftp://u:hunter2@x/}\n    api_key: hunter2\n"
    )
    file = tmp_path / "brainops.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert len(str(caught.value).splitlines()) == 5
    assert "hunter2" not in str(caught.value)


def test_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    file = tmp_path / "brainops.yaml"
    file.write_text(SERVICE + "      environment:\n        A: x${SHOP_PASSWORD}\n        B: $${NOT_A_REFERENCE}\n")
    (mistake,) = find_mistakes(file)
    assert (mistake.line, mistake.message) == (6, "the variable SHOP_PASSWORD is not set")


@pytest.mark.parametrize(
    ("run", "field", "message"),
    [
        ("command: [no-such-program-here]", "command.0", "there is no program 'no-such-program-here' on PATH"),
        ("command: [./bin/web]", "command.0", "there is no program"),
        ("command: [./plain.txt]", "command.0", "may not be executed"),
        ("{command: [python3], directory: gone}", "directory", "there is no folder"),
        (f"command: [./{'x' * 300}]", "command.0", "there is no program"),  # longer than a name may be
        (f"{{command: [python3], directory: {'x' * 300}}}", "directory", "there is no folder"),
        (f"{{kind: compose, service: web, files: [{'x' * 300}]}}", "files.0", "there is no Compose file"),
    ],
)
def test_what_the_machine_lacks_is_told_before_a_start_only(tmp_path: Path, run: str, field: str, message: str) -> None:
    (tmp_path / "plain.txt").write_text("x")
    file = tmp_path / "brainops.yaml"
    file.write_text(f"services:\n  web:\n    run:\n      {run}\n")
    (mistake,) = find_mistakes(file)
    assert mistake.line == 4
    assert mistake.field == f"services.web.run.{field}"
    assert message in mistake.message
    assert reload_config(file).config.services["web"]


def test_program_that_is_a_declared_file_may_be_missing_for_it_can_be_restored(tmp_path: Path) -> None:
    file = tmp_path / "brainops.yaml"
    file.write_text("services:\n  web:\n    run: {command: [./bin/web]}\n    files: [{path: bin/web}]\n")
    assert find_mistakes(file) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"a: \xff\xfe", "2 is not UTF-8"),
        (b"#" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "brainops.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=message.replace("2 is", "is")):
        load_config(file)


def test_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a file"):
        load_config(tmp_path)


def test_many_mistakes_end_in_a_count(tmp_path: Path) -> None:
    file = tmp_path / "brainops.yaml"
    file.write_text("".join(f"key{count}: 1\n" for count in range(150)))
    with pytest.raises(ConfigError, match="has 150 mistakes") as caught:
        load_config(file)
    assert str(caught.value).endswith("… and 50 more")


WORDS = st.sampled_from(
    [
        "services",
        "web",
        "run",
        "command",
        "checks",
        "kind",
        "http",
        "url",
        "autonomy",
        "act",
        "depends_on",
        "agents",
        "1s",
    ]
)
SIGNS = st.sampled_from(
    [": ", "\n", "\n  ", "\n    ", "- ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!!int ", "'", '"', "|", "\t"]
)


@given(st.text() | st.lists(WORDS | SIGNS, max_size=40).map("".join))
def test_no_text_raises_anything(text: str) -> None:
    for mistake in check_config(text, Path("x")):
        assert mistake.message
        assert mistake.remedy
        assert mistake.line >= 1
        str(mistake).encode()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
KEYS = st.sampled_from(
    [
        "web",
        "run",
        "command",
        "directory",
        "environment",
        "checks",
        "kind",
        "url",
        "port",
        "depends_on",
        "ports",
        "folders",
        "path",
        "limit",
        "target",
        "clean",
        "files",
        "remedies",
        "only",
        "autonomy",
        "host",
        "commands",
        "max_latency",
    ]
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=5), max_size=3))
def test_services_of_any_shape_raise_nothing(services: object) -> None:
    for mistake in check_config(yaml.safe_dump({"services": services}), Path("x")):
        str(mistake).encode()
