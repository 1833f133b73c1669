"""Prometheus itself reads what is in deploy/: its configuration, the alerts, and each query of the
dashboard, over workers with streams playing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processes import ROOT, Edge, Site, eventually, free_port
from streamwatch_client import new_stream_id

# Two partitions have an intake, whose metrics the alerts name.
SITE = {"ttl": 2.0, "heartbeat_every": 0.5, "partitions": 2}

DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "streamwatch.json"
RUNBOOK = DEPLOY / "RUNBOOK.md"
METRICS = (DEPLOY / "MONITOR.md", DEPLOY / "EDGE.md")

# Metrics of an edge that exist once it has served and refused requests.
OF_REQUESTS = (
    "streamwatch_edge_requests_total",
    "streamwatch_edge_request_duration_seconds",
    "streamwatch_edge_refused_total",
)

# Where a person would wait for minutes.
SCRAPE_EVERY = "500ms"
RATE_INTERVAL = "10s"


def tool(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: apt-get install prometheus"
    return found


def promtool(*arguments: str | Path, given: str | None = None) -> None:
    done = subprocess.run(
        [tool("promtool"), *arguments], input=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"promtool {arguments}:\n{done.stdout}{done.stderr}"


class Prometheus:
    def __init__(self, url: str):
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        return self.get("/api/v1/query", query=expression)["result"]

    def rules(self) -> list[dict[str, Any]]:
        groups = self.get("/api/v1/rules", type="alert")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    @property
    def is_up(self) -> bool:
        try:
            return bool(self.get("/api/v1/status/buildinfo"))
        except (OSError, AssertionError):
            return False


@pytest.fixture(scope="module")
def playing(site: Site) -> Iterator[Site]:
    """The site, with everything happening on it that a panel shows."""
    site.wait_for_leader()
    site.run("topology", "set", "--count-by", "device")
    stop = threading.Event()

    def play() -> None:
        with site.client() as client:
            n = 0
            while not stop.is_set():
                n += 1
                account = f"viewer-{n % 7}"
                stays = client.init(account, new_stream_id(), metadata={"device": "tv"})
                client.heartbeat(account, stays["stream"], want_bad_news=False)
                client.init(account, new_stream_id(), max_active=1)  # refused
                client.init(account, new_stream_id(), replace=[stays["stream"]])
                stopped = client.init(account, new_stream_id())["stream"]
                client.stop(account, stopped)
                client.heartbeat(account, stopped, want_bad_news=False)
                client.heartbeat(account, new_stream_id(), want_bad_news=False)  # expires
                client.status(account)
                if n % 3 == 0:
                    client.publish("heartbeat", {"account": account}, want_reply=False)
                    client.publish("status", {"account": account, "stream": 7})
                client.listen(0.05)

    player = threading.Thread(target=play)
    player.start()
    try:
        yield site
    finally:
        stop.set()
        player.join()


@pytest.fixture(scope="module")
def edge(playing: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge of the site, with requests that it serves and refuses."""
    environment = playing.environment(playing.url)
    edge = Edge(environment, tmp_path_factory.mktemp("edge"), "web", "acme")
    stop = threading.Event()

    def call() -> None:
        stream = new_stream_id()
        while not stop.wait(0.1):
            edge.call("PUT", f"/accounts/alice/streams/{stream}", {})
            edge.call("POST", f"/accounts/alice/streams/{stream}/heartbeat")
            edge.call("PUT", "/accounts/alice/streams/no-uuid", {})

    caller = threading.Thread(target=call)
    caller.start()
    try:
        yield edge
    finally:
        stop.set()
        caller.join()
        edge.kill()


@pytest.fixture(scope="module")
def prometheus(playing: Site, edge: Edge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with the configuration of deploy/, but for its targets and its pace."""
    folder = tmp_path_factory.mktemp("prometheus")
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    text = re.sub(r"_interval: 15s", f"_interval: {SCRAPE_EVERY}", text)
    targets = ", ".join(worker.http for worker in playing.workers)
    # The workers and the edge; RabbitMQ's own metrics are not scraped here.
    jobs = iter([f"[{{targets: [{targets}]}}]", f"[{{targets: [{edge.http}]}}]", "[]"])
    found, times = re.subn(
        r"( +)dns_sd_configs:\n(?:\1 .*\n?)+",
        lambda match: f"{match[1]}static_configs: {next(jobs)}\n",
        text,
    )
    assert times == 3, "prometheus.yml finds workers, edges and RabbitMQ by dns_sd_configs"
    (folder / "prometheus.yml").write_text(found)
    shutil.copy(ALERTS, folder)
    address = f"127.0.0.1:{free_port()}"
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = Prometheus(f"http://{address}")

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        return server.is_up

    try:
        eventually(is_up, "Prometheus is up", within=30)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def panels() -> dict[str, list[str]]:
    """The queries of each panel, as Grafana would ask them."""
    dashboard = json.loads(DASHBOARD.read_text())
    return {
        panel["title"]: [
            target["expr"].replace("$__rate_interval", RATE_INTERVAL)
            for target in panel["targets"]
        ]
        for panel in dashboard["panels"]
        if panel["type"] != "row"
    }


def metrics_named(text: str) -> set[str]:
    """The metrics of ours that an expression names, without what a histogram appends."""
    names = re.findall(r"\b(?:streamwatch|process)_[a-z_]+\b", text)
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_promtool_accepts_the_metrics_of_a_worker_and_of_an_edge(
    playing: Site, edge: Edge
) -> None:
    for service in [*playing.workers, edge]:
        promtool("check", "metrics", given=service.metrics())


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    promtool("check", "config", "--syntax-only", DEPLOY / "prometheus" / "prometheus.yml")
    promtool("check", "rules", ALERTS)


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    tests = DEPLOY / "prometheus" / "alerts_test.yml"
    promtool("test", "rules", tests)
    text = tests.read_text()
    for name in re.findall(r"- alert: (\w+)", ALERTS.read_text()):
        assert f"alertname: {name}" in text, f"{name} has a test"


def test_every_metric_of_the_dashboard_and_the_alerts_is_one_of_a_worker_or_an_edge(
    playing: Site, edge: Edge
) -> None:
    def has_served() -> bool:
        page = edge.metrics()
        return all(f"# TYPE {name} " in page for name in OF_REQUESTS)

    eventually(has_served, "the edge has served and refused requests", within=30)
    page = "".join(service.metrics() for service in [*playing.workers, edge])
    there = set(re.findall(r"^# TYPE (\w+) ", page, flags=re.MULTILINE))
    alerts = "\n".join(re.findall(r"expr: (.*(?:\n {10}.*)*)", ALERTS.read_text()))
    named = metrics_named(alerts) | metrics_named(json.dumps(panels()))
    assert len(named) > 15
    assert named - there == set()
    helps = re.findall(r"^# HELP (\w+) (.*)$", page, flags=re.MULTILINE)
    ours = [(name, text) for name, text in helps if name.startswith("streamwatch_")]
    assert ours
    for name, text in ours:
        documented = any(f"`{name}`" in page.read_text() for page in METRICS)
        assert documented, f"{name} is in a table of deploy/MONITOR.md or EDGE.md: {text}"


def test_every_panel_shows_something(prometheus: Prometheus) -> None:
    def has_data(expression: str) -> bool:
        values = [float(series["value"][1]) for series in prometheus.query(expression)]
        return any(value == value for value in values)  # NaN is nothing

    assert len(panels()) > 30
    for title, expressions in panels().items():
        for expression in expressions:
            what = f"data for {title!r}: {expression}"
            eventually(lambda e=expression: has_data(e), what, within=30, every=0.5)


def test_every_alert_evaluates_and_leads_to_the_runbook(prometheus: Prometheus) -> None:
    def evaluated() -> bool:
        return all(rule["health"] != "unknown" for rule in prometheus.rules())

    eventually(evaluated, "all rules are evaluated", within=30)
    headings = re.findall(r"^#+ (.*)$", RUNBOOK.read_text(), flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
    rules = prometheus.rules()
    assert len(rules) > 15
    for rule in rules:
        assert (rule["health"], rule.get("lastError")) == ("ok", None), rule
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (page, anchor) == ("deploy/RUNBOOK.md", rule["name"].lower())
        assert anchor in anchors, f"{rule['name']} has an entry in the runbook"


def test_prometheus_counts_what_two_workers_saw_once(
    prometheus: Prometheus, playing: Site
) -> None:
    streams = [new_stream_id() for _ in range(20)]
    with playing.client("counted-once") as client:

        def counted() -> bool:
            for stream in streams:
                client.heartbeat("alice", stream, want_bad_news=False)
            expression = (
                "sum(max by (partition, tenant) "
                '(streamwatch_tenant_active_streams{tenant="counted-once"}))'
            )
            # Both are scraped, at different moments, with equal values.
            both = 'count(streamwatch_tenant_active_streams{tenant="counted-once"})'
            said = [[s["value"][1] for s in prometheus.query(e)] for e in (expression, both)]
            return said == [["20"], ["2"]]

        eventually(counted, "both workers' streams are counted once", within=20, every=0.4)
