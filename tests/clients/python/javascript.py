"""Runs the tests of the clients in JavaScript, against a broker and workers started here.

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
from contextlib import contextmanager, suppress
from pathlib import Path

import roles
from installations import Permissions
from processes import PRIVATE_NODE, ROOT, Edge, Node, Site

CLIENTS = ROOT / "tests" / "clients"
CHROMIUM = shutil.which("chromium")
# A plugin for the page; the tests also restart their broker.
PLUGINS = "rabbitmq_web_stomp"
# Questions about an account that each worker accepts in a second.
PER_SECOND = 100
# Only bounds how long a failure takes.
TESTS_S = 300


def tests_in(*folders: str) -> list[Path]:
    """The files of tests in these folders of the clients."""
    return sorted(file for folder in folders for file in CLIENTS.glob(f"{folder}/*.test.js"))


def name_of(file: Path) -> str:
    return str(file.relative_to(CLIENTS))


@contextmanager
def environment(node: Node, folder: Path) -> Iterator[dict[str, object]]:
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
        folder,
        ttl=4.0,
        heartbeat_every=1.0,
        namespace=permissions.namespace,
        worker_url=url("worker"),
    )
    try:
        site.run("topology", "set", "--account-statuses-per-second", str(PER_SECOND))
        workers = site.start_workers(2)
        site.wait_for_leader()
        edge = Edge(site.environment(url(roles.BACKEND)), folder, "web", roles.TENANT)
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


def must_pass(file: Path, environment: dict[str, object], folder: Path) -> None:
    """Runs the tests in a file. Their output is written to a file in `folder`."""
    assert (CLIENTS / "node_modules").exists(), "no packages: run tests/install-javascript first"
    output = folder / "output"
    # The name of a temporary folder leaves room for that of a socket: a browser makes one there.
    with output.open("wb") as stdout, tempfile.TemporaryDirectory() as short:
        tests = subprocess.Popen(
            ["node", "--test", "--test-reporter=spec", file],
            env={**os.environ, "STREAMWATCH_SITE": json.dumps(environment), "TMPDIR": short},
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
