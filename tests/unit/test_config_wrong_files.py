"""Wrong files for what teams really run: containers, units, commands, certificates, patterns, messages.

The table of `test_config_mistakes` goes on here: each row is one mistake, with its line, its field and the remedy.
"""

from pathlib import Path

import pytest

from brainops.config.load import check_config, find_mistakes

PROCESS = "{command: [python3]}"
DOCKER = "{kind: docker, container: web}"
COMPOSE = "{kind: compose, service: web}"
UNIT = "{kind: systemd, unit: web.service}"
COMMANDS = "{kind: command, start: [a], stop: [b]}"
EXTERNAL = "{kind: external}"
HOST = "{kind: host}"


def runs(run: str, line: str = "") -> str:
    """Three lines with a service; `line` is the fourth."""
    return f"services:\n  web:\n    run: {run}\n" + (f"    {line}\n" if line else "")


def checked(check: str, run: str = PROCESS) -> str:
    """A service whose check stands on line 5."""
    return runs(run, f"checks:\n      f: {check}")


def beside(text: str) -> str:
    """A service, and `text` on line 4."""
    return f"{runs(PROCESS)}{text}\n"


F = "services.web.checks.f"

CASES = [
    # how services run
    (runs("{kind: dockr, container: web}"), 3, "services.web.run.kind", "did you mean docker?"),
    (runs("{kind: docker}"), 3, "services.web.run.container", "add container"),
    (runs("{kind: docker, container: 'a b'}"), 3, "services.web.run.container", "`docker ps`"),
    (runs("{kind: docker, container: web, image: x}"), 3, "services.web.run.image", "known here: kind, container"),
    (runs("{kind: docker, container: web, endpoint: localhost}"), 3, "services.web.run.endpoint", "unix:///var/run/docker.sock"),
    (runs("{kind: docker, container: web, stop_timeout: 10}"), 3, "services.web.run.stop_timeout", "with its unit"),
    (runs("{kind: docker, container: web, reload: SIGKILL}"), 3, "services.web.run.reload", "write SIGHUP"),
    (runs("{kind: compose}"), 3, "services.web.run.service", "add service"),
    (runs("{kind: compose, service: web, files: compose.yaml}"), 3, "services.web.run.files", "write a list"),
    (runs("{kind: compose, service: web, files: []}"), 3, "services.web.run.files", "name the Compose file"),
    (runs("{kind: compose, service: web, files: [~/compose.yaml]}"), 3, "services.web.run.files.0", "write the whole path"),
    (runs("{kind: compose, service: web, project: My Shop}"), 3, "services.web.run.project", "lower-case letters"),
    (runs("{kind: systemd}"), 3, "services.web.run.unit", "add unit"),
    (runs("{kind: systemd, unit: nginx}"), 3, "services.web.run.unit", "such as nginx.service"),
    (runs("{kind: systemd, unit: web.service, scope: root}"), 3, "services.web.run.scope", "write system or user"),
    (runs("{kind: systemd, unit: web.service, reload: SIGHUP}"), 3, "services.web.run.reload", "true or false"),
    (runs("{kind: command, start: [a]}"), 3, "services.web.run.stop", "add stop"),
    (runs("{kind: command, start: systemctl start web, stop: [b]}"), 3, "services.web.run.start", "write a list"),
    (runs("{kind: command, start: [a], stop: [b], timeout: 2h}"), 3, "services.web.run.timeout", "at most 30m"),
    (runs("{kind: external, command: [x]}"), 3, "services.web.run.command", "remove it"),
    (runs("{kind: external, reload: SIGHUP}"), 3, "services.web.run.reload", "remove it"),
    (runs("{kind: host, container: x}"), 3, "services.web.run.container", "remove it"),
    # checks that the kind of service has no use for
    (checked("{kind: health}"), 5, f"{F}.kind", "use kind http"),
    (checked("{kind: health}", UNIT), 5, f"{F}.kind", "docker or compose"),
    (checked("{kind: process}", EXTERNAL), 5, f"{F}.kind", "use kind http or tcp"),
    (checked("{kind: process}", HOST), 5, f"{F}.kind", "use kind http or tcp"),
    (checked("{kind: process}", COMMANDS), 5, f"{F}.kind", "add run.pid_file, or run.status"),
    (checked("{kind: log, max_matches: 0}", EXTERNAL), 5, f"{F}.path", "add path"),
    (checked("{kind: log, max_matches: 0}", COMMANDS), 5, f"{F}.path", "add path"),
    # what checks say
    (checked("{kind: log}"), 5, F, "add max_matches: 0"),
    (checked("{kind: log, max_matches: 0, path: ~/a.log}"), 5, f"{F}.path", "write the whole path"),
    (checked("{kind: log, max_matches: 0, pattern: '(?=x)x'}"), 5, f"{F}.pattern", "without look-around"),
    (checked(r"{kind: log, max_matches: 0, pattern: '(a)\1'}"), 5, f"{F}.pattern", "back-references"),
    (checked("{kind: log, max_matches: 0, ignore: ['(']}"), 5, f"{F}.ignore.0", "write one"),
    (checked("{kind: dns}"), 5, f"{F}.name", "add name"),
    (checked("{kind: dns, name: x, type: AAAAA}"), 5, f"{F}.type", "write A, AAAA"),
    (checked("{kind: dns, name: x, server: 'http://192.0.2.1/'}"), 5, f"{F}.server", "such as 192.0.2.53"),
    (checked("{kind: tcp, port: 1, host: 'http://x/'}"), 5, f"{F}.host", "such as 127.0.0.1"),
    (checked("{kind: postgres}"), 5, f"{F}.url", "add url"),
    (checked("{kind: postgres, url: 'postgresql://u:hunter2@db/shop'}"), 5, f"{F}.url", "write ${NAME}"),
    (checked("{kind: postgres, url: 'mysql://db/shop'}"), 5, f"{F}.url", "postgresql://user"),
    (checked("{kind: postgres, url: '${A B}'}"), 5, f"{F}.url", "write ${NAME}"),
    (checked("{kind: postgres, url: '${A}', query: DELETE FROM x}"), 5, f"{F}.query", "write a SELECT"),
    (checked("{kind: postgres, url: '${A}', max_connections_used: 150%}"), 5, f"{F}.max_connections_used", "such as 85%"),
    (checked("{kind: command, run: ./look}"), 5, f"{F}.run", "write a list"),
    (checked("{kind: command, run: [look], expect_exit_code: [256]}"), 5, f"{F}.expect_exit_code.0", "at most 255"),
    (checked("{kind: host, max_disk_used: lots}"), 5, f"{F}.max_disk_used", "such as 85%"),
    (checked("{kind: host, max_load: 0}"), 5, f"{F}.max_load", "more than 0"),
    (checked("{kind: heartbeat, heartbeat: nightly}"), 5, f"{F}.period", "add period"),
    (checked("{kind: heartbeat, heartbeat: nightly, period: 1s, interval: 1m}"), 5, f"{F}.period", "a shorter interval"),
    (checked("{kind: plugin}"), 5, f"{F}.use", "add use"),
    (checked("{kind: plugin, use: 'a b'}"), 5, f"{F}.use", "`brainops plugins`"),
    (checked("{kind: http, url: 'http://x/', client_certificate: c.pem}"), 5, f"{F}.client_certificate", "write url: https://"),
    (checked("{kind: http, url: 'https://x/', client_key: k.pem}"), 5, f"{F}.client_key", "add client_certificate"),
    (checked("{kind: http, url: 'http://x/', body: x}"), 5, f"{F}.body", "add method: POST"),
    (checked("{kind: http, url: 'http://u:hunter2@x/'}"), 5, f"{F}.url", "headers: {Authorization"),
    (checked("{kind: http, url: 'http://x/', headers: {Authorization: hunter2}}"), 5, f"{F}.headers.Authorization", "${NAME}"),
    (checked("{kind: http, url: 'http://x/', redirects: 99}"), 5, f"{F}.redirects", "at most 20"),
    (checked("{kind: http, url: 'http://x/', conditions: ['[STATS] == 200']}"), 5, f"{F}.conditions.0", "[STATUS]"),
    (checked("{kind: http, url: 'http://x/', conditions: ['[STATUS] <']}"), 5, f"{F}.conditions.0", "write a value"),
    (checked("{kind: tcp, port: 1, conditions: ['[BODY] == 1']}"), 5, f"{F}.conditions.0", "known: "),
    # limits, logs and what may be done
    (runs(PROCESS, "limits: {memory: 1GB, memory_ceiling: 2GB}"), 4, "services.web.limits.memory_ceiling", "containers and units"),
    (runs(DOCKER, "limits: {memory: 2GB, memory_ceiling: 1GB}"), 4, "services.web.limits.memory_ceiling", "more than memory"),
    (runs(DOCKER, "limits: {disk: 10GB}"), 4, "services.web.limits.disk", "kind host"),
    (runs(EXTERNAL, "limits: {memory: 1GB}"), 4, "services.web.limits.memory", "remove it"),
    (runs(HOST, "limits: {threads: 5}"), 4, "services.web.limits.threads", "kind host"),
    (runs(PROCESS, "logs: [{path: a.log, keep: 0}]"), 4, "services.web.logs.0.keep", "at least 1"),
    (runs(PROCESS, "logs: [{path: ~/a.log}]"), 4, "services.web.logs.0.path", "write the whole path"),
    (runs(PROCESS, "flapping: {turns: 2}"), 4, "services.web.flapping.turns", "at least 3"),
    (runs(EXTERNAL, "commands: {fix: {run: [x]}}"), 4, "services.web.commands", "remove them"),
    (runs(PROCESS, "commands: {fix: {run: [x], helps_with: [slwo]}}"), 4, "services.web.commands.fix.helps_with.0", "mean slow?"),
    (runs(EXTERNAL, "priority: low"), 4, "services.web.priority", "remove it"),
    (runs(PROCESS, "autonomy: {reboot: act}"), 4, "services.web.autonomy.reboot", "write start, restart"),
    # who is told, and when nobody is
    (beside("notify: {channels: {ops: {}}}"), 4, "notify.channels.ops.url", "add url"),
    (beside("notify: {channels: {ops: {url: '${A}'}}, routes: [{channels: [opz]}]}"), 4, "notify.routes.0.channels.0", "mean ops?"),
    (beside("notify: {quiet: [{hours: 25:00-26:00}]}"), 4, "notify.quiet.0.hours", "from 00:00 to 24:00"),
    (beside("notify: {quiet: [{timezone: Mars/Olympus}]}"), 4, "notify.quiet.0.timezone", "Europe/Berlin"),
    (beside("notify: {heartbeat: {url: 'ftp://x/'}}"), 4, "notify.heartbeat.url", "http://"),
    (beside("maintenance: [{name: w, schedule: every night, lasts: 1h}]"), 4, "maintenance.0.schedule", "such as '0 2 * * 6'"),
    (beside("maintenance: [{name: w, schedule: '0 2 * * 6', lasts: 30d}]"), 4, "maintenance.0.lasts", "at most 7d"),
    (beside("maintenance: [{name: w, services: [wbe], schedule: '0 2 * * 6', lasts: 1h}]"), 4, "maintenance.0.services.0",
     "did you mean web?"),
    (beside("public_url: brainops.example"), 4, "public_url", "write an address"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "field", "remedy"), CASES, ids=[f"{case[2]}-{case[3][:20]}" for case in CASES]
)
def test_mistake_is_told_once_with_line_field_and_remedy(text: str, line: int, field: str, remedy: str) -> None:
    mistakes = check_config(text, Path("brainops.yaml"))
    assert [(mistake.line, mistake.field) for mistake in mistakes] == [(line, field)], mistakes
    assert remedy in mistakes[0].remedy
    assert "hunter2" not in str(mistakes[0])


def test_the_table_holds_more_than_forty_wrong_files() -> None:
    assert len({case[0] for case in CASES}) >= 40


@pytest.mark.parametrize("run", [PROCESS, DOCKER, COMPOSE, UNIT, COMMANDS, EXTERNAL, HOST])
def test_each_kind_of_service_can_be_written_without_a_mistake(run: str) -> None:
    assert check_config(runs(run), Path("brainops.yaml")) == []


def told(folder: Path, text: str) -> list[tuple[int, str, str]]:
    """Line, field and remedy of everything that is wrong with a file on this machine."""
    file = folder / "brainops.yaml"
    file.write_text(text)
    return [(mistake.line, mistake.field, mistake.remedy) for mistake in find_mistakes(file)]


def test_compose_file_that_is_not_there_or_has_no_such_service_is_told(tmp_path: Path) -> None:
    ((line, field, _),) = told(tmp_path, runs(COMPOSE))
    assert (line, field.startswith("services.web.run")) == (3, True)
    (tmp_path / "compose.yaml").write_text("services:\n  shop: {image: x}\n")
    ((line, field, remedy),) = told(tmp_path, runs(COMPOSE))
    assert (line, field) == (3, "services.web.run.service")
    assert "shop" in remedy


def test_compose_file_with_mistakes_is_told_and_not_read_on(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services:\n  web: {image: x\n")
    ((line, field, _),) = told(tmp_path, runs(COMPOSE))
    assert (line, field.startswith("services.web.run")) == (3, True)


def test_unit_that_no_manager_knows_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = tmp_path / "systemctl"
    manager.write_text(
        "#!/bin/sh\nprintf 'Id=gone.service\\nLoadState=not-found\\n\\nId=here.service\\nLoadState=loaded\\n'\n"
    )
    manager.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    text = (
        "services:\n  here:\n    run: {kind: systemd, unit: here.service}\n"
        "  gone:\n    run: {kind: systemd, unit: gone.service}\n"
    )
    ((line, field, remedy),) = told(tmp_path, text)
    assert (line, field) == (5, "services.gone.run.unit")
    assert "systemctl list-unit-files" in remedy


def test_certificate_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    text = checked("{kind: http, url: 'https://x/', ca: ca.pem}")
    ((line, field, _),) = told(tmp_path, text)
    assert (line, field) == (5, f"{F}.ca")


def test_variable_of_a_check_that_is_not_set_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_DATABASE_URL", raising=False)
    ((line, field, remedy),) = told(tmp_path, checked("{kind: postgres, url: '${SHOP_DATABASE_URL}'}"))
    assert (line, field) == (5, f"{F}.url")
    assert "export SHOP_DATABASE_URL=" in remedy


def test_check_of_a_package_that_is_not_installed_is_told(tmp_path: Path) -> None:
    ((line, field, remedy),) = told(tmp_path, checked("{kind: plugin, use: no-such-package}"))
    assert (line, field) == (5, f"{F}.use")
    assert "install the package" in remedy


def test_program_of_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    text = runs("{kind: command, start: [no-such-program-here], stop: [sh]}")
    ((line, field, _),) = told(tmp_path, text)
    assert (line, field) == (3, "services.web.run.start.0")
