"""The clients in JavaScript, with their own tests, against a broker and workers started here.

Each `*.test.js` in tests/clients is one test. `tests/install-javascript` installs what they need.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import roles
from installations import DIRECT_REPLIES_BY_AMQP_1_0, Permissions
from processes import BINARY, PRIVATE_NODE, ROOT, Edge, Node, Site, private_node

CLIENTS = ROOT / "tests" / "clients"
TESTS = sorted(CLIENTS.glob("*/*.test.js"))
CHROMIUM = shutil.which("chromium")
# Questions about an account that each worker accepts in a second.
PER_SECOND = 100
# Only bounds how long a failure takes.
TESTS_S = 300


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Its own: these tests restart it."""
    if not BINARY.exists():
        pytest.exit(f"{BINARY} is missing: run `cargo build` first", returncode=2)
    with private_node(tmp_path_factory.mktemp("js"), "--plugins", "rabbitmq_web_stomp") as node:
        yield node


@pytest.fixture(scope="module")
def place(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """The environment of the tests. Each user has the least permissions of its role."""
    permissions = Permissions(1)
    definitions = node.folder / "roles.json"
    definitions.write_text(json.dumps(permissions.with_users()))
    node.ctl("import_definitions", str(definitions))

    def url(role: str) -> str:
        return node.url_of(*permissions.user(role), permissions.vhost)

    login, passcode = permissions.user(roles.STOMP)
    site = Site(
        url("operator"),
        tmp_path_factory.mktemp("site"),
        ttl=4.0,
        heartbeat_every=1.0,
        namespace=permissions.namespace,
        worker_url=url("worker"),
    )
    try:
        site.run("topology", "set", "--account-statuses-per-second", str(PER_SECOND))
        workers = site.start_workers(2)
        site.wait_for_leader()
        environment = site.environment(url(roles.BACKEND))
        edge = Edge(environment, tmp_path_factory.mktemp("edge"), "web", roles.TENANT)
        yield {
            "urls": {"player": url(roles.PLAYER), "backend": url(roles.BACKEND)},
            "tenant": roles.TENANT,
            "namespace": site.namespace,
            "ttlMs": round(site.ttl * 1000),
            "heartbeatEveryMs": round(site.heartbeat_every * 1000),
            "perSecond": PER_SECOND,
            "workers": [worker.process.pid for worker in workers],
            "privateNode": str(PRIVATE_NODE),
            "brokerFolder": str(node.folder),
            "page": {
                "brokerURL": f"ws://127.0.0.1:{node.port('web_stomp')}/ws",
                "vhost": permissions.vhost,
                "login": login,
                "passcode": passcode,
                "tenant": roles.TENANT,
                "namespace": site.namespace,
                "maxActive": 1,
            },
            "edge": {"edge": f"http://{edge.api}", "application": "web"},
            "chromium": CHROMIUM,
        }
        edge.end()
        site.assert_workers_run()
    finally:
        site.close()


@pytest.fixture
def short() -> Iterator[str]:
    """A folder whose name leaves room for that of a socket: a browser makes one there."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.relative_to(CLIENTS)))
def test_the_tests_in(
    file: Path, node: Node, place: dict[str, object], tmp_path: Path, short: str
) -> None:
    if file.name.startswith("amqp10") and node.version() < DIRECT_REPLIES_BY_AMQP_1_0:
        pytest.skip("this RabbitMQ has no direct reply-to over AMQP 1.0")
    if file.parent.name == "browser" and CHROMIUM is None:
        pytest.skip("Chromium is not installed: tests/install-javascript --browser")
    assert (CLIENTS / "node_modules").exists(), "no packages: run tests/install-javascript first"
    output = tmp_path / "output"
    with output.open("wb") as stdout:
        tests = subprocess.Popen(
            ["node", "--test", "--test-reporter=spec", file],
            env={**os.environ, "STREAMWATCH_SITE": json.dumps(place), "TMPDIR": short},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with suppress(subprocess.TimeoutExpired):
            tests.wait(timeout=TESTS_S)
    finally:
        # Ends their child processes too, also after an interruption.
        with suppress(ProcessLookupError):
            os.killpg(tests.pid, signal.SIGKILL)
        tests.wait()
    print(said := output.read_text(errors="replace"))
    assert tests.returncode == 0, f"{file.name} fails"
    passed = re.search(r"^ℹ pass (\d+)$", said, re.MULTILINE)
    assert passed is not None and int(passed[1]) > 0, "nothing was tested"
