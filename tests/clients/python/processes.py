"""The environment of the tests: a real broker, and real workers as processes."""

from __future__ import annotations

import atexit
import base64
import ctypes
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pika
import pika.exceptions

from streamwatch_client import StreamwatchClient, new_stream_id

ROOT = Path(__file__).resolve().parents[3]
PRIVATE_NODE = ROOT / "deploy" / "rabbitmq" / "private-node"
BINARY = Path(os.environ.get("STREAMWATCH_BIN") or ROOT / "target" / "debug" / "streamwatch")

# Generous: they only bound how long a failure takes.
BROKER_START_S = 120
READY_S = 30
EXIT_S = 20

# The logs of all workers and edges, for reports of failures.
service_logs: list[Path] = []


def eventually(
    condition: Callable[[], object], what: str, within: float = 10.0, every: float = 0.02
) -> object:
    """Waits until the condition holds, and returns its value."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(every)
    return value


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """The URL of the broker in AMQP_URL, else of a private one that ends with us."""
    if urls := os.environ.get("AMQP_URL"):
        yield urls.split(",")[0]
        return
    with private_node(folder) as node:
        yield node.url


@dataclass(frozen=True)
class Node:
    """A RabbitMQ of the tests' own."""

    folder: Path
    url: str

    def url_of(self, user: str, password: str, vhost: str) -> str:
        """The address with another user."""
        host = self.url.rpartition("@")[2].partition("/")[0]
        user, password, vhost = (quote(part, safe="") for part in [user, password, vhost])
        return f"amqp://{user}:{password}@{host}/{vhost}"

    def port(self, listener: str) -> int:
        return int(self._run("port", listener))

    def ctl(self, *arguments: str) -> str:
        """Runs rabbitmqctl. Files that it reads must lie in the node's folder."""
        return self._run("ctl", *arguments)

    def version(self) -> tuple[int, ...]:
        """RabbitMQ's version."""
        return tuple(int(number) for number in self._run("version").strip().split("."))

    def stop(self) -> None:
        """Stops it gracefully. Data, ports and name are kept for `start`."""
        self._run("stop")

    def start(self) -> None:
        # Into nothing and not a pipe: a node that kept the pipe open would keep us waiting.
        subprocess.run(
            [PRIVATE_NODE, "start", self.folder],
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=BROKER_START_S,
            check=True,
        )

    def _run(self, verb: str, *arguments: str) -> str:
        done = subprocess.run(
            [PRIVATE_NODE, verb, self.folder, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BROKER_START_S,
        )
        assert done.returncode == 0, f"{verb} {arguments}: {done.stdout}{done.stderr}"
        return done.stdout


@contextmanager
def private_node(folder: Path, *arguments: str) -> Iterator[Node]:
    """A private RabbitMQ that ends with us."""
    # Into a file and not a pipe: a node that kept the pipe open would keep us waiting.
    with tempfile.TemporaryFile("w+") as stdout:
        subprocess.run(
            [PRIVATE_NODE, "start", folder, "--die-with", str(os.getpid()), *arguments],
            stdout=stdout,
            stdin=subprocess.DEVNULL,
            timeout=BROKER_START_S,
            check=True,
        )
        stdout.seek(0)
        url = stdout.read().strip()
    try:
        yield Node(folder, url)
    finally:
        subprocess.run(
            [PRIVATE_NODE, "remove", folder],
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=BROKER_START_S,
            check=True,
        )


@dataclass(frozen=True)
class Entry:
    """One message of a log."""

    exchange: str
    properties: pika.BasicProperties
    body: bytes


class Service:
    """One process of the program, with its health and metrics at `http`."""

    def __init__(
        self, name: str, arguments: list[str], http: str, environment: dict[str, str], log: Path
    ):
        self.name = name
        self.log = log
        self.http = http
        service_logs.append(log)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [BINARY, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=_end_with_parent,
            )
        atexit.register(self.kill)

    def wait_ready(self) -> None:
        def ready() -> bool:
            assert self.running, (
                f"{self.name} ended with {self.process.returncode} before it served"
            )
            return self.ready

        eventually(ready, f"{self.name} is ready", within=READY_S)

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def ready(self) -> bool:
        try:
            return self._get("/readyz")[0] == 200
        except OSError:
            return False

    def metrics(self) -> str:
        return self._get("/metrics")[1]

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Asks the process to end, and returns its exit code."""
        self.process.send_signal(how)
        return self.wait_end()

    def wait_end(self) -> int:
        return self.process.wait(timeout=EXIT_S)

    def kill(self) -> None:
        if self.running:
            self.process.kill()
            self.process.wait()

    def pause(self) -> None:
        """Sends SIGSTOP, and waits until no thread runs: one may answer a request until it stops."""
        self.process.send_signal(signal.SIGSTOP)
        eventually(self._stands_still, f"{self.name} stands still")

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def _stands_still(self) -> bool:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        try:
            stats = [task.read_text() for task in tasks]
        except OSError:
            return False  # a thread has ended meanwhile
        # The state of a thread follows its name, which is in parentheses.
        return all(stat.rpartition(") ")[2].startswith("T") for stat in stats)

    def _get(self, path: str) -> tuple[int, str]:
        return _fetch(f"http://{self.http}{path}")


class Worker(Service):
    """One `streamwatch worker`."""

    def __init__(self, name: str, environment: dict[str, str], log: Path):
        http = f"127.0.0.1:{free_port()}"
        super().__init__(name, ["worker", "--http", http], http, environment, log)


class Edge(Service):
    """One `streamwatch edge` for an application of each tenant, without a secret."""

    def __init__(self, environment: dict[str, str], folder: Path, application: str, *tenants: str):
        """The application of a second tenant has its name as a suffix, and so on."""
        access = folder / "access.toml"
        names = [application, *(f"{application}-{tenant}" for tenant in tenants[1:])]
        access.write_text(
            "".join(
                f'[[applications]]\nid = "{name}"\ntenant = "{tenant}"\n'
                for name, tenant in zip(names, tenants, strict=True)
            )
        )
        self.application = application
        self.api, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
        arguments = ["--http", self.api, "--admin", admin, "--access", str(access)]
        arguments += ["--cors-origin", "*"]
        super().__init__("edge", ["edge", *arguments], admin, environment, folder / "edge.log")
        self.wait_ready()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, str]:
        """Sends a request of its API, and returns the status and the body of the response."""
        credentials = base64.b64encode(f"{self.application}:".encode()).decode()
        return _fetch(
            urllib.request.Request(
                f"http://{self.api}/api/v1{path}",
                data=None if body is None else json.dumps(body).encode(),
                headers={"Authorization": f"Basic {credentials}"},
                method=method,
            )
        )


def _fetch(request: str | urllib.request.Request) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Site:
    """One topology under a namespace of its own, and the workers that serve it."""

    def __init__(
        self,
        url: str,
        folder: Path,
        ttl: float = 2.0,
        heartbeat_every: float = 0.5,
        max_streams_per_account: int | None = None,
        partitions: int = 1,
        namespace: str | None = None,
        worker_url: str | None = None,
        by_mqtt: bool = False,
        rules: int | None = None,
    ):
        self.url = url
        self.worker_url = worker_url or url
        self.folder = folder
        self.ttl = ttl
        self.heartbeat_every = heartbeat_every
        # How often a worker writes its tick: log time is that coarse.
        self.interval = min(1.0, ttl / 20)
        self.namespace = namespace or f"t{secrets.token_hex(3)}-"
        self.partitions = partitions
        self.workers: list[Worker] = []
        self._is_led = False
        options = ["--ttl", _duration(ttl), "--heartbeat-every", _duration(heartbeat_every)]
        if max_streams_per_account is not None:
            options += ["--max-streams-per-account", str(max_streams_per_account)]
        if partitions > 1:
            options += ["--partitions", str(partitions)]
        if by_mqtt:
            options.append("--mqtt")
        if rules is not None:
            options += ["--rules", str(rules)]
        self.run("topology", "declare", *options)

    def run(self, *arguments: str, url: str | None = None) -> str:
        """Runs the program here and returns its output."""
        done = subprocess.run(
            [BINARY, *arguments],
            env=self.environment(url or self.url),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, (
            f"streamwatch {' '.join(arguments)} exited with {done.returncode}:"
            f"\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def start_workers(self, how_many: int) -> list[Worker]:
        started = []
        for _ in range(how_many):
            name = f"worker-{len(self.workers) + 1}"
            log = self.folder / f"{self.namespace}{name}.log"
            worker = Worker(name, self.environment(self.worker_url), log)
            self.workers.append(worker)
            started.append(worker)
        for worker in started:
            worker.wait_ready()
        return started

    def client(self, tenant: str = "acme", confirms: bool = True) -> StreamwatchClient:
        return StreamwatchClient(self.url, tenant, self.namespace, confirms=confirms)

    def wait_for_leader(self) -> None:
        """Waits until one worker leads each partition: only the leader answers what is in the log."""
        if self._is_led:
            return
        if self.partitions > 1:
            # Each partition has one; no message reaches all of them.
            led = lambda: sum(self.metric("streamwatch_leader").values())  # noqa: E731
            eventually(lambda: led() == self.partitions, "all partitions are led", within=READY_S)
            self._is_led = True
            return
        with self.client() as client:

            def is_told() -> bool:
                # A heartbeat of no stream at all: an error, which the leader answers.
                client.publish("heartbeat", {"account": "leader-probe"})
                return bool(client.listen(0.3))

            eventually(is_told, "a worker leads", within=READY_S)
            client.listen(0.3)  # late answers to earlier probes
        self._is_led = True

    def metric(self, name: str) -> dict[str, float]:
        """A metric of the workers that run, by its labels: of several workers the sum."""
        values: Counter[str] = Counter()
        for worker in self.workers:
            if worker.running:
                for line in worker.metrics().splitlines():
                    if series := re.fullmatch(rf"{name}(?:{{(.*)}})? ([-+.e\d]+)", line):
                        values[series[1] or ""] += float(series[2])
        return dict(values)

    def bad_input(self) -> Counter[str]:
        """How many bad messages the workers have counted, together, by their error code."""
        counts: Counter[str] = Counter()
        for worker in self.workers:
            if worker.running:
                for line in worker.metrics().splitlines():
                    if series := re.fullmatch(r'\w+\{.*\breason="(\w+)".*\} ([-+.e\d]+)', line):
                        counts[series[1]] += round(float(series[2]))
        return counts

    def read_log(self) -> list[Entry]:
        """All entries of the partition's log, up to a heartbeat that this sends last."""
        last = new_stream_id()
        with self.client() as client:
            client.heartbeat("log-reader", last, want_bad_news=False)
        entries = []
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=1000)
            for method, properties, body in channel.consume(
                f"{self.namespace}streamwatch.p00.log",
                arguments={"x-stream-offset": "first"},
                inactivity_timeout=10,
            ):
                assert method is not None, "the log ended before its last entry"
                channel.basic_ack(method.delivery_tag)
                if last.encode() in body:
                    return entries
                entries.append(Entry(method.exchange, properties, body))
        finally:
            # pika requeues undelivered messages, which a log does not accept.
            with suppress(pika.exceptions.AMQPError):
                connection.close()
        raise AssertionError("the consumer was cancelled")

    def assert_workers_run(self) -> None:
        for worker in self.workers:
            assert worker.running, f"{worker.name} ended with {worker.process.returncode}"

    def close(self) -> None:
        """Ends what still runs, and takes the topology down."""
        running = [worker for worker in self.workers if worker.running]
        try:
            for worker in running:
                worker.process.terminate()
            codes = {worker.name: worker.wait_end() for worker in running}
            assert all(code == 0 for code in codes.values()), f"exit codes: {codes}"
        finally:
            for worker in self.workers:
                worker.kill()
            self.run("topology", "delete", "--yes")

    def environment(self, url: str) -> dict[str, str]:
        # Without settings from the environment of the tests.
        kept = {k: v for k, v in os.environ.items() if not k.startswith("STREAMWATCH_")}
        return kept | {"AMQP_URL": url, "STREAMWATCH_NAMESPACE": self.namespace}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


# Found before any fork: between fork and exec little is allowed.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """A worker must not outlive tests that were killed."""
    if _libc is not None:
        pr_set_pdeathsig = 1
        _libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
