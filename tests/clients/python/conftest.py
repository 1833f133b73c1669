"""Fixtures: one broker for all tests, one topology with two workers for each module.

A module changes its topology with a dictionary `SITE`, whose items are the
arguments of `processes.Site`. With AMQP_URL the tests use that broker, with
STREAMWATCH_BIN that program; otherwise a private RabbitMQ and `target/debug`.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import contract
import javascript
import processes
from installations import PARTITIONS, Installation, installed
from processes import Node, Site
from streamwatch_client import StreamwatchClient

# How much of each worker's log belongs to tests that are over.
_old_log: dict[Path, int] = {}


@pytest.fixture(scope="session", autouse=True)
def every_reply_is_checked() -> Iterator[None]:
    """Compares each received reply with the contract, in all tests."""
    receive = StreamwatchClient._on_reply

    def checked(self: StreamwatchClient, *delivered: Any) -> None:
        _channel, _method, properties, body = delivered
        contract.check("replies", properties, body)
        receive(self, *delivered)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StreamwatchClient, "_on_reply", checked)
        yield


@pytest.fixture(autouse=True)
def all_that_was_received_keeps_to_the_contract(every_reply_is_checked: None) -> Iterator[None]:
    before = len(contract.broken)
    yield
    if new := contract.broken[before:]:
        pytest.fail("\n\n".join(new), pytrace=False)


@pytest.fixture(scope="session")
def broker_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not processes.BINARY.exists():
        pytest.exit(f"{processes.BINARY} is missing: run `cargo build` first", returncode=2)
    with processes.broker(tmp_path_factory.mktemp("broker")) as url:
        yield url


@pytest.fixture(scope="module")
def bare_site(
    request: pytest.FixtureRequest, broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The module's topology, without workers."""
    options = getattr(request.module, "SITE", {})
    site = Site(broker_url, tmp_path_factory.mktemp("site"), **options)
    try:
        yield site
    finally:
        site.close()


@pytest.fixture(scope="module")
def site(bare_site: Site) -> Site:
    """The module's topology, served by two workers."""
    bare_site.start_workers(2)
    return bare_site


@pytest.fixture
def client(site: Site) -> Iterator[StreamwatchClient]:
    """A client with a connection of its own. No test may end a worker by what it sends."""
    with site.client() as client:
        yield client
    site.assert_workers_run()


@pytest.fixture
def account(request: pytest.FixtureRequest) -> str:
    """An account of this test alone."""
    return _unique(request.node.name)


@pytest.fixture
def other_account(request: pytest.FixtureRequest) -> str:
    return _unique(request.node.name)


def _unique(name: str) -> str:
    return f"{re.sub(r'[^a-z0-9]+', '-', name.lower())[:80]}-{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """The module's own broker, with the plugins that its `PLUGINS` names."""
    if not processes.BINARY.exists():
        pytest.exit(f"{processes.BINARY} is missing: run `cargo build` first", returncode=2)
    plugins = request.module.PLUGINS
    with processes.private_node(tmp_path_factory.mktemp("node"), "--plugins", plugins) as node:
        yield node


@pytest.fixture(scope="module")
def installations(
    node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Installation]]:
    """Two of them, under the roles that are printed for them."""
    with installed(node, lambda: tmp_path_factory.mktemp("installation")) as found:
        yield found


@pytest.fixture(scope="module")
def environment(
    node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, object]]:
    """The environment of the module's tests in JavaScript."""
    with javascript.environment(node, tmp_path_factory.mktemp("site")) as environment:
        yield environment


@pytest.fixture(params=PARTITIONS, ids=lambda n: f"{n} partitions")
def here(
    request: pytest.FixtureRequest, installations: dict[int, Installation]
) -> Iterator[Installation]:
    """An installation whose worker answers before the test and after it."""
    it = installations[request.param]
    yield it
    it.assert_unhurt()


# The modules with the longest tests, which each run in one process: first, so that no process is left
# with one of them at the end.
_LONGEST = (
    "test_browser",
    "test_javascript",
    "test_mqtt",
    "test_roles",
    "test_amqp10",
    "test_batch",
    "test_unreadable_requests",
    "test_liveness",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        name = item.path.stem
        return _LONGEST.index(name) if name in _LONGEST else len(_LONGEST)

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Shows, with a failure, what the workers logged meanwhile."""
    report = yield
    for log in processes.service_logs:
        new = log.read_bytes()[_old_log.get(log, 0) :]
        if report.failed and new:
            text = new[-20_000:].decode(errors="replace")
            report.sections.append((f"{log.stem}, during {call.when}", text))
        if call.when == "teardown":
            _old_log[log] = _old_log.get(log, 0) + len(new)
    return report


# Numbers of messages compared with the contract, over all processes of xdist.
_compared: dict[str, Counter[str]] = {"sent": Counter(), "kept": Counter()}


def _add_up(counts: dict[str, Any]) -> None:
    for name, counter in _compared.items():
        counter.update(counts.get(name, {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    counts = {"sent": dict(contract.sent), "kept": dict(contract.kept)}
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["contract"] = counts
    else:
        _add_up(counts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _add_up(getattr(node, "workeroutput", {}).get("contract", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("the contract")
    titles = {"sent": "examples sent", "kept": "workers' messages that kept to it"}
    for name, counts in _compared.items():
        each = ", ".join(f"{what} {count}" for what, count in sorted(counts.items()))
        terminalreporter.line(f"{titles[name]}: {counts.total()} ({each})")
