"""The manifests: rendered by kustomize, valid by Kubernetes' own schemas, restricted, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import processes
from conftest import DEPLOY, ROOT, Run

KUBERNETES = DEPLOY / "kubernetes"
# The oldest that is promised, and the newest whose schemas there are.
VERSIONS = ("1.30", "1.37")
WHOLE, SHARDED, EDGE = ".", "sharded", "edge"
Manifest = dict[str, Any]


def kubectl() -> list[str]:
    """A kubectl whose kustomize supports `labels` and `patches`: the system's, else RabbitMQ 4's."""
    if shutil.which("kubectl"):
        version = subprocess.run(
            ["kubectl", "version", "--client"], capture_output=True, text=True, check=False
        ).stdout
        if "Kustomize Version: v5" in version:
            return ["kubectl"]
    root = ROOT / ".cache" / "rabbitmq-4.0"
    if (root / "usr" / "bin" / "kubectl").exists():
        return ["chroot", str(root), "kubectl"]
    pytest.skip("no kubectl of 1.27 or later")


def render(folder: str, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    command = kubectl()
    where = KUBERNETES
    if command[0] == "chroot":
        # Only what is inside can be seen from inside.
        inside = tmp_path_factory.mktemp("kubernetes").name
        where = Path("/tmp") / inside
        shutil.copytree(KUBERNETES, Path(command[1]) / "tmp" / inside)
    try:
        rendered = subprocess.run(
            [*command, "kustomize", str(where / folder)], capture_output=True, text=True, check=False
        )
    finally:
        if command[0] == "chroot":
            shutil.rmtree(Path(command[1]) / "tmp" / where.name)
    assert rendered.returncode == 0, rendered.stderr
    assert "deprecated" not in rendered.stderr, rendered.stderr
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return render(WHOLE, tmp_path_factory)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return render(SHARDED, tmp_path_factory)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return render(EDGE, tmp_path_factory)


@pytest.fixture(scope="module", params=[WHOLE, SHARDED])
def installation(
    request: pytest.FixtureRequest, whole: list[Manifest], sharded: list[Manifest]
) -> list[Manifest]:
    return whole if request.param == WHOLE else sharded


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    found = [manifest for manifest in manifests if manifest["kind"] == kind]
    assert found, f"there is a {kind}"
    return found


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """The templates of all pods."""
    return [m["spec"]["template"] for m in manifests if m["kind"] in ("Deployment", "Job")]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_manifest_is_valid_by_kubernetes_own_schemas(
    installation: list[Manifest], edge: list[Manifest], version: str
) -> None:
    for manifest in installation + edge:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_manifest_with_a_mistake_is_not_valid(whole: list[Manifest]) -> None:
    [deployment] = of_kind(whole, "Deployment")
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_every_pod_is_restricted(installation: list[Manifest], edge: list[Manifest]) -> None:
    [namespace] = of_kind(installation, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in pods(installation + edge):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all(set(volume) <= {"name", "secret"} for volume in spec["volumes"])
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "hostPort" not in str(container.get("ports"))


def pod_monitor(name: str, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    monitors = of_kind(render("monitoring", tmp_path_factory), "PodMonitor")
    [monitor] = [monitor for monitor in monitors if monitor["metadata"]["name"] == name]
    return monitor["spec"]


def scrape_config(job: str) -> Manifest:
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    [config] = [config for config in prometheus["scrape_configs"] if config["job_name"] == job]
    return config


def selects(selector: Manifest, pod: Manifest) -> bool:
    labels = pod["metadata"]["labels"]
    return all(labels.get(name) == value for name, value in selector["matchLabels"].items())


def test_everything_that_selects_pods_selects_those_it_is_for(
    installation: list[Manifest], tmp_path_factory: pytest.TempPathFactory
) -> None:
    deployments = of_kind(installation, "Deployment")
    workers = [deployment["spec"]["template"] for deployment in deployments]
    everything = pods(installation)
    for deployment in deployments:
        own = deployment["spec"]["template"]
        spread = [c["labelSelector"] for c in own["spec"]["topologySpreadConstraints"]]
        for selector in [deployment["spec"]["selector"], *spread]:
            assert [pod for pod in everything if selects(selector, pod)] == [own]
    for budget in of_kind(installation, "PodDisruptionBudget"):
        assert sum(selects(budget["spec"]["selector"], pod) for pod in everything) == 1
    [policy] = of_kind(installation, "NetworkPolicy")
    assert all(selects(policy["spec"]["podSelector"], pod) for pod in everything)
    # The labels that kustomize adds to selectors must not have reached the way to the DNS.
    peers = [peer for rule in policy["spec"]["egress"] for peer in rule["to"]]
    assert peers and all("podSelector" not in peer for peer in peers)
    monitor = pod_monitor("streamwatch-worker", tmp_path_factory)
    assert all(selects(monitor["selector"], pod) for pod in workers)
    [endpoint] = monitor["podMetricsEndpoints"]
    jobs = {pod["metadata"]["labels"][monitor["jobLabel"]] for pod in workers}
    assert jobs == {scrape_config("streamwatch")["job_name"]}
    for pod in workers:
        names = [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
        assert endpoint["port"] in names


def test_everything_of_the_edge_selects_its_pods_and_no_others(
    whole: list[Manifest], edge: list[Manifest], tmp_path_factory: pytest.TempPathFactory
) -> None:
    [pod] = pods(edge)
    [service] = of_kind(edge, "Service")
    [common] = of_kind(whole, "NetworkPolicy")
    [policy] = of_kind(edge, "NetworkPolicy")
    [budget] = of_kind(edge, "PodDisruptionBudget")
    monitor = pod_monitor("streamwatch-edge", tmp_path_factory)
    selectors = [
        {"matchLabels": service["spec"]["selector"]},
        policy["spec"]["podSelector"],
        budget["spec"]["selector"],
        monitor["selector"],
    ]
    for selector in selectors:
        assert [it for it in pods(whole) + [pod] if selects(selector, it)] == [pod]
    # Its way to RabbitMQ is that of the workers.
    assert policy["spec"]["egress"] == common["spec"]["egress"]
    [scaler] = of_kind(edge, "HorizontalPodAutoscaler")
    [deployment] = of_kind(edge, "Deployment")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    job = pod["metadata"]["labels"][monitor["jobLabel"]]
    assert job == scrape_config("streamwatch-edge")["job_name"]
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert monitor["podMetricsEndpoints"][0]["port"] in ports
    allowed = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
    assert sorted(allowed) == sorted(ports.values())
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]


def test_the_command_of_the_edge_runs(
    edge: list[Manifest], broker_url: str, tmp_path: Path, known_settings: set[str]
) -> None:
    (tmp_path / "amqp-url").write_text(broker_url + "\n")
    (tmp_path / "access.toml").write_text('[[applications]]\nid = "a"\ntenant = "acme"\n')
    [pod] = pods(edge)
    [container] = pod["spec"]["containers"]
    environment = environment_of(container, tmp_path)
    assert environment.keys() <= known_settings
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name, port in (("STREAMWATCH_EDGE_HTTP", "http"), ("STREAMWATCH_EDGE_ADMIN", "admin")):
        assert environment[name] == f"0.0.0.0:{ports[port]}"
        # On this machine on loopback alone.
        environment[name] = f"127.0.0.1:{processes.free_port()}"
    admin = int(environment["STREAMWATCH_EDGE_ADMIN"].rsplit(":", 1)[1])
    process = subprocess.Popen(
        [processes.BINARY, *container["args"]],
        env={"PATH": os.environ["PATH"]} | environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        for probe in ("readinessProbe", "livenessProbe"):
            path = container[probe]["httpGet"]["path"]
            processes.eventually(
                lambda path=path: http_status(admin, path) == 200, path, within=30
            )
        process.terminate()
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
    # The longest shutdown, with its drain, fits.
    grace = int(environment["STREAMWATCH_GRACE"].removesuffix("s"))
    assert pod["spec"]["terminationGracePeriodSeconds"] > grace
    probe = container["readinessProbe"]
    drain = int(environment["STREAMWATCH_EDGE_DRAIN"].removesuffix("s"))
    assert drain > probe["periodSeconds"] + probe["timeoutSeconds"]


def test_the_prometheus_operator_scrapes_the_same_of_rabbitmq_as_prometheus(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    scrape = scrape_config("rabbitmq")
    monitor = pod_monitor("streamwatch-rabbitmq", tmp_path_factory)
    [endpoint] = monitor["podMetricsEndpoints"]
    assert (endpoint["path"], endpoint["params"]) == (scrape["metrics_path"], scrape["params"])
    [cluster] = of_kind(render("rabbitmq", tmp_path_factory), "RabbitmqCluster")
    assert monitor["namespaceSelector"]["matchNames"] == [cluster["metadata"]["namespace"]]
    assert "rabbitmq_prometheus" in cluster["spec"]["rabbitmq"]["additionalPlugins"]


def test_the_rules_for_the_prometheus_operator_are_those_of_prometheus(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    [rule] = of_kind(render("monitoring", tmp_path_factory), "PrometheusRule")
    alerts = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    assert rule["spec"] == alerts


def test_the_example_of_a_cluster_names_plugins_and_settings_that_are_used_elsewhere_too(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    [cluster] = of_kind(render("rabbitmq", tmp_path_factory), "RabbitmqCluster")
    assert cluster["apiVersion"] == "rabbitmq.com/v1beta1"
    assert cluster["spec"]["replicas"] == 3
    plugins = cluster["spec"]["rabbitmq"]["additionalPlugins"]
    assert "rabbitmq_consistent_hash_exchange" in plugins


def test_the_sharded_form_follows_every_partition_that_it_declares(sharded: list[Manifest]) -> None:
    [job] = of_kind(sharded, "Job")
    arguments = job["spec"]["template"]["spec"]["containers"][0]["args"]
    declared = int(arguments[arguments.index("--partitions") + 1])
    followed = []
    for deployment in of_kind(sharded, "Deployment"):
        assert deployment["spec"]["replicas"] >= 2
        environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        [given] = [e["value"] for e in environment if e["name"] == "STREAMWATCH_PARTITIONS"]
        first, last = given.split("-")
        followed += range(int(first), int(last) + 1)
    assert sorted(followed) == list(range(declared))


def http_status(port: int, path: str) -> int | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as answer:
        return answer.code
    except OSError:
        return None


def environment_of(container: Manifest, secrets: Path) -> dict[str, str]:
    """A container's environment, with the folder of secrets where it is on this machine."""
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    environment = {}
    for variable in container["env"]:
        value = variable["value"]
        for path in sorted(mounted, key=len, reverse=True):
            value = value.replace(path, str(secrets))
        environment[variable["name"]] = value
    return environment


def test_the_commands_of_the_manifests_run(
    whole: list[Manifest],
    broker_url: str,
    tmp_path: Path,
    known_settings: set[str],
    run: Run,
) -> None:
    (tmp_path / "amqp-url").write_text(broker_url + "\n")
    (tmp_path / "amqp-url").chmod(0o440)
    clean = {"PATH": os.environ["PATH"], "STREAMWATCH_NAMESPACE": "manifests-"}
    [job] = of_kind(whole, "Job")
    [container] = job["spec"]["template"]["spec"]["containers"]
    declare = environment_of(container, tmp_path)
    assert declare.keys() <= known_settings
    run(processes.BINARY, *container["args"], env=clean | declare)
    [deployment] = of_kind(whole, "Deployment")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    environment = environment_of(container, tmp_path)
    assert environment.keys() <= known_settings
    port = processes.free_port()
    address = environment["STREAMWATCH_HTTP"]
    assert address.endswith(f":{container['ports'][0]['containerPort']}")
    # On this machine on loopback alone.
    environment["STREAMWATCH_HTTP"] = f"127.0.0.1:{port}"
    worker = subprocess.Popen(
        [processes.BINARY, *container["args"]], env=clean | environment, stderr=subprocess.DEVNULL
    )
    try:
        for probe in ("readinessProbe", "livenessProbe"):
            path = container[probe]["httpGet"]["path"]
            processes.eventually(
                lambda path=path: http_status(port, path) == 200, path, within=30
            )
        worker.terminate()
        assert worker.wait(timeout=30) == 0
    finally:
        worker.kill()
        worker.wait()
        run(
            processes.BINARY, "topology", "delete", "--yes",
            env=clean | {"AMQP_URL_FILE": str(tmp_path / "amqp-url")},
        )
