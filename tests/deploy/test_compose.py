"""The compose file: read by docker-compose, everything waits on health, and its commands run."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import pytest
import yaml

import processes
from conftest import DEPLOY, Run, tool

COMPOSE = DEPLOY / "compose" / "compose.yaml"
OURS = ("topology", "worker-1", "worker-2", "viewers")


@pytest.fixture(scope="module")
def compose(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file as docker-compose reads it, the profile `monitoring` included."""
    folder = tmp_path_factory.mktemp("compose")
    shutil.copytree(DEPLOY, folder / "deploy")
    run(folder / "deploy" / "compose" / "prepare")
    command = [tool("docker-compose", "docker-compose"), "--profile", "monitoring"]
    file = folder / "deploy" / "compose" / COMPOSE.name
    return yaml.safe_load(run(*command, "--file", file, "config"))


def test_docker_compose_finds_every_service(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"rabbitmq", *OURS, "prometheus", "grafana"}


def test_nothing_waits_for_time(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for other, condition in service.get("depends_on", {}).items():
            waits = condition["condition"]
            assert waits in ("service_healthy", "service_completed_successfully"), (name, other)
            if waits == "service_healthy":
                # Of ours the image's own check.
                assert other in OURS or "healthcheck" in compose["services"][other], other


def test_no_port_is_open_to_others_and_no_password_is_in_the_file(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))
        for name, value in (service.get("environment") or {}).items():
            assert "password" not in name.lower() or name.endswith("__FILE"), value
    assert "amqp://" not in COMPOSE.read_text()


def test_our_services_are_read_only_and_set_what_the_program_reads(
    compose: dict[str, Any], known_settings: set[str]
) -> None:
    for name in OURS:
        service = compose["services"][name]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["environment"].keys() <= known_settings
        secrets = [secret["source"] for secret in service["secrets"]]
        assert service["environment"]["AMQP_URL_FILE"] == f"/run/secrets/{secrets[0]}"


def test_the_program_knows_every_command_of_the_file(compose: dict[str, Any]) -> None:
    for name in OURS:
        command = compose["services"][name]["command"]
        said = subprocess.run(
            [processes.BINARY, *command],
            env={"AMQP_URL_FILE": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        # It understood everything but the address, which is not there.
        assert said.returncode == 2 and "1 setting is wrong" in said.stderr, said.stderr
        assert "AMQP_URL_FILE" in said.stderr
