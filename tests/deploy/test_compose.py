"""The compose file: read by docker-compose, everything waits on health, and its commands run."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

import processes
from conftest import DEPLOY, Run, tool

COMPOSE = DEPLOY / "compose" / "compose.yaml"
OURS = ("topology", "worker-1", "worker-2", "edge", "viewers")


@pytest.fixture(scope="module")
def compose(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file as docker-compose reads it, the profile `monitoring` included."""
    folder = tmp_path_factory.mktemp("compose")
    shutil.copytree(DEPLOY, folder / "deploy")
    run(folder / "deploy" / "compose" / "prepare")
    command = [tool("docker-compose", "docker-compose"), "--profile", "monitoring"]
    file = folder / "deploy" / "compose" / COMPOSE.name
    return yaml.safe_load(run(*command, "--file", file, "config"))


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    """What `prepare` has made."""
    folder = tmp_path_factory.mktemp("prepared") / "compose"
    shutil.copytree(COMPOSE.parent, folder, ignore=shutil.ignore_patterns("secrets"))
    run(folder / "prepare")
    definitions = (folder / "secrets" / "definitions.json").read_text()
    # Done again it changes nothing.
    run(folder / "prepare")
    assert (folder / "secrets" / "definitions.json").read_text() == definitions
    return folder / "secrets"


def test_the_users_have_the_permissions_that_the_program_prints(run: Run) -> None:
    roles = json.loads((COMPOSE.parent / "roles.json").read_text())
    command = ["--json", "topology", "roles", "--tenant", "demo", "--edge", "demo"]
    environment = {"AMQP_URL": "amqp://u:p@127.0.0.1:1/streamwatch"}
    assert roles == json.loads(run(processes.BINARY, *command, env=environment))


def test_the_services_run_as_their_users_at_a_broker_with_the_definitions_of_prepare(
    secrets: Path, compose: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    # A node of its own: definitions are the whole broker's.
    if "AMQP_URL" in os.environ:
        pytest.skip("an outside broker is not given users")
    start_node = [processes.PRIVATE_NODE, "start", node, "--die-with", os.getpid()]
    # Its output to nowhere: the node would keep a pipe open.
    subprocess.run(
        [str(part) for part in start_node],
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        timeout=processes.BROKER_START_S,
        check=True,
    )
    port = run(processes.PRIVATE_NODE, "port", node, "amqp").strip()
    try:
        # In the folder of the node, as only that is visible in its root folder.
        definitions = Path(shutil.copy(secrets / "definitions.json", node))
        run(processes.PRIVATE_NODE, "ctl", node, "import_definitions", definitions)

        def start(name: str, **more: str) -> subprocess.Popen[str]:
            service = compose["services"][name]
            secret = service["environment"]["AMQP_URL_FILE"].removeprefix("/run/secrets/")
            url = (secrets / secret).read_text().replace("@rabbitmq:5672", f"@127.0.0.1:{port}")
            return subprocess.Popen(
                [processes.BINARY, *service["command"]],
                env={"AMQP_URL": url.strip(), **more},
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )

        topology = start("topology")
        assert topology.wait(timeout=60) == 0, topology.stderr.read()
        address = f"127.0.0.1:{processes.free_port()}"
        edge = f"127.0.0.1:{processes.free_port()}"
        access = {
            "STREAMWATCH_EDGE_HTTP": edge,
            "STREAMWATCH_EDGE_ACCESS": str(secrets / "edge-access.toml"),
        }
        running = [
            start("worker-1", STREAMWATCH_HTTP=address),
            start("edge", **access),
            start("viewers"),
        ]
        try:
            metric = "streamwatch_active_streams"
            processes.eventually(lambda: counted(address, metric) > 0, metric, within=60)
            secret = re.search('secret = "(.+)"', (secrets / "edge-access.toml").read_text())[1]
            processes.eventually(lambda: is_opened(edge, secret), "a stream is opened", within=60)
            assert not is_opened(edge, "a wrong secret")
        finally:
            for process in running:
                process.kill()
                process.wait()
    finally:
        run(processes.PRIVATE_NODE, "remove", node)


def is_opened(edge: str, secret: str) -> bool:
    """Whether the edge opens a stream for the application `demo`."""
    credentials = base64.b64encode(f"demo:{secret}".encode()).decode()
    request = urllib.request.Request(
        f"http://{edge}/api/v1/accounts/alice/streams",
        data=b"{}",
        headers={"Authorization": f"Basic {credentials}"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status == 201
    except OSError:
        return False


def counted(address: str, metric: str) -> float:
    """The sum of a metric over its partitions; 0 while it is not there."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return 0.0
    lines = [line for line in text.splitlines() if line.startswith(metric)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_docker_compose_finds_every_service(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"rabbitmq", *OURS, "prometheus", "grafana"}


def test_prometheus_finds_the_workers_under_the_name_that_they_have(compose: dict[str, Any]) -> None:
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    [scraped] = prometheus["scrape_configs"][0]["dns_sd_configs"]
    workers = [service for name, service in compose["services"].items() if "worker" in name]
    assert len(workers) == 2
    for worker in workers:
        assert scraped["names"] == worker["networks"]["default"]["aliases"]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"STREAMWATCH_HTTP=0.0.0.0:{scraped['port']}" in dockerfile


def test_services_wait_for_the_health_of_others(compose: dict[str, Any]) -> None:
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


def test_the_program_accepts_every_command_of_the_file(
    compose: dict[str, Any], secrets: Path
) -> None:
    for name in OURS:
        service = compose["services"][name]
        command = service["command"]
        environment = {
            variable: value.replace("/run/secrets/edge-access", str(secrets / "edge-access.toml"))
            for variable, value in service["environment"].items()
        }
        said = subprocess.run(
            [processes.BINARY, *command],
            env=environment | {"AMQP_URL_FILE": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        # It understood everything but the address, which is not there.
        assert said.returncode == 2 and "1 setting is wrong" in said.stderr, said.stderr
        assert "AMQP_URL_FILE" in said.stderr
