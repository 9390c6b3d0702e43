"""The configuration as it holds: example, schema, reference, environment, command line."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import config_reference
import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from brainops.config.environment import expand_environment
from brainops.config.load import load_config
from brainops.config.memory import MemorySettings
from brainops.config.models import BrainOpsConfig, Service
from brainops.config.schema import json_schema
from brainops.contracts.agent import ActionClass, Autonomy
from brainops.errors import ConfigError
from interfaces.cli.config import app

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "brainops.yaml"
REFERENCE = ROOT / "docs" / "configuration.md"

Node = dict[str, Any]
"""Part of a JSON schema. Any: JSON of every shape."""


@pytest.fixture
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_PASSWORD", "hunter2")


@pytest.fixture
def wrong_file(tmp_path: Path) -> Path:
    file = tmp_path / "brainops.yaml"
    file.write_text("servces: {}\n")
    return file


@pytest.mark.usefixtures("_password")
def test_example_can_be_used() -> None:
    loaded = load_config(EXAMPLE)
    assert list(loaded.config.services) == ["store", "api", "web"]
    assert loaded.directory == EXAMPLE.parent
    assert loaded.resolve(Path("data/x")) == EXAMPLE.parent / "data" / "x"
    assert loaded.resolve(Path("/etc/x")) == Path("/etc/x")
    assert loaded.config.services["api"].autonomy_for(ActionClass.FREE_PORT) is Autonomy.OBSERVE
    assert loaded.config.services["web"].autonomy_for(ActionClass.FREE_PORT) is Autonomy.ACT


def test_schema_is_valid_and_accepts_the_example() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(EXAMPLE.read_text()), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"servces": {}},
        {"services": {"web": {}}},
        {"services": {"web": {"run": {"command": ["x"]}, "autonomy": "acct"}}},
        {"services": {"web": {"run": {"command": ["x"]}, "keep_good_after": "soon"}}},
        {"services": {"web": {"run": {"command": ["x"]}, "checks": {"f": {"kind": "http"}}}}},
    ],
)
def test_schema_refuses_what_the_loader_refuses(wrong: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, json_schema())


def sections() -> Iterator[tuple[str, Node]]:
    schema = json_schema()
    yield "BrainOpsConfig", schema
    for name, node in schema["$defs"].items():
        if "properties" in node:
            yield name, node


def test_defaults_in_the_schema_are_valid_in_it() -> None:
    schema = json_schema()
    for _, node in sections():
        for field in node["properties"].values():
            if "default" in field:
                scheme = {**field, "$defs": schema["$defs"]}
                validator: Any = jsonschema.Draft202012Validator(scheme)  # Any: the stubs leave its methods open
                validator.validate(field["default"])


def test_reference_says_what_the_models_say() -> None:
    page = REFERENCE.read_text()
    assert config_reference.unmentioned(page) == []
    assert config_reference.written(page) == page, "run tools/config_reference.py --write"


def service(**environment: str) -> Service:
    return Service.model_validate({"run": {"command": ["x"], "environment": environment}})


def test_variables_are_taken_from_the_environment_and_not_expanded_twice() -> None:
    declared = service(A="x${ONE}y${TWO}", B="plain $ONE", C="$${ONE}")
    expanded = expand_environment(declared, {"ONE": "1", "TWO": "${ONE}"})
    assert expanded == {"A": "x1y${ONE}", "B": "plain $ONE", "C": "${ONE}"}


def test_missing_variables_are_all_named_and_no_value_is() -> None:
    with pytest.raises(ConfigError, match="ONE, TWO is not set") as caught:
        expand_environment(service(A="${ONE}${SECRET}", B="${TWO}"), {"SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_process_check_is_there_without_being_named_and_comes_first() -> None:
    checks = {"port": {"kind": "tcp", "port": 80}, "alive": {"kind": "process", "interval": "2s"}}
    bare = Service.model_validate({"run": {"command": ["x"]}, "checks": {"port": checks["port"]}})
    named = Service.model_validate({"run": {"command": ["x"]}, "checks": checks})
    assert list(bare.all_checks()) == ["process", "port"]
    assert list(named.all_checks()) == ["alive", "port"]


def test_folder_is_cleaned_to_half_its_limit_unless_a_target_is_named() -> None:
    config = BrainOpsConfig.model_validate(
        {"services": {"web": {"run": {"command": ["x"]}, "folders": [{"path": "a", "limit": "10MB"}]}}}
    )
    assert config.services["web"].folders[0].target_bytes == 5_000_000
    assert config.services["web"].recover_within == timedelta(seconds=15)


@pytest.mark.parametrize(
    ("told", "place"),
    [("kept/objects", "/etc/shop/kept/objects"), ("/srv/objects", "/srv/objects"), ("s3://b/p", "s3://b/p")],
)
def test_folder_of_objects_is_the_same_for_the_api_and_the_workers(told: str, place: str) -> None:
    memory = MemorySettings(objects=told)
    assert memory.place(Path("/etc/shop")) == memory.variables(Path("/etc/shop"))["BRAINOPS_OBJECTS"] == place
    # An empty value overrides what the environment of `brainops up` happens to say.
    assert MemorySettings().variables(Path("/etc/shop"))["BRAINOPS_OBJECTS"] == ""


@pytest.mark.usefixtures("_password")
def test_check_of_a_good_file_says_what_it_holds() -> None:
    result = CliRunner().invoke(app, ["check", str(EXAMPLE)])
    assert result.exit_code == 0
    assert result.stdout.endswith("no mistakes; 3 services, 6 checks\n")


def test_check_of_a_wrong_file_ends_with_2_and_a_line_for_each_mistake(wrong_file: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(wrong_file)])
    assert result.exit_code == 2
    assert f"{wrong_file}:1:1 servces: 'servces' is not a known key — did you mean services?" in result.stderr


def test_check_for_programs_is_json_and_ends_with_2(wrong_file: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(wrong_file), "--json"])
    assert result.exit_code == 2
    (mistake,) = json.loads(result.stdout)["mistakes"]
    assert (mistake["line"], mistake["column"], mistake["field"]) == (1, 1, "servces")


@pytest.mark.parametrize("command", ["check", "show"])
def test_file_that_is_not_there_is_one_sentence_and_exit_code_2(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [command, str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert re.fullmatch(r"brainops: .* does not exist; .*\n", result.stderr)


def test_wrong_file_is_not_shown(wrong_file: Path) -> None:
    assert CliRunner().invoke(app, ["show", str(wrong_file)]).exit_code == 2


@pytest.mark.usefixtures("_password")
def test_show_prints_defaults_and_what_it_prints_is_a_file() -> None:
    shown = yaml.safe_load(CliRunner().invoke(app, ["show", str(EXAMPLE)]).stdout)
    assert shown["services"]["web"]["keep_good_after"] == "30s"
    assert BrainOpsConfig.model_validate(shown) == load_config(EXAMPLE).config
    assert json.loads(CliRunner().invoke(app, ["show", str(EXAMPLE), "--json"]).stdout) == shown


def test_secret_that_was_written_into_the_file_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "brainops.yaml"
    file.write_text("services: {web: {run: {command: [python3], environment: {DB_PASSWORD: hunter2}}}}\n")
    result = CliRunner().invoke(app, ["show", str(file)])
    assert "DB_PASSWORD: '[redacted]'" in result.stdout


def test_schema_command_prints_the_schema() -> None:
    assert json.loads(CliRunner().invoke(app, ["schema"]).stdout) == json_schema()
