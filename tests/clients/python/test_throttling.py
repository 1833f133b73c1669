"""Limits of requests per second, as a client meets them."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from processes import Site
from streamwatch_backend import Backend, Rejected, new_stream_id

# A bucket accepts ten at once, then two a second.
PER_SECOND = 2
BURST = 10


@pytest.fixture(scope="module")
def limited(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(broker_url, tmp_path_factory.mktemp("limited"), ttl=30.0, heartbeat_every=10.0)
    try:
        flags = ["--account-inits-per-second", "--account-statuses-per-second"]
        settings = [part for flag in flags for part in (flag, str(PER_SECOND))]
        site.run("topology", "set", *settings)
        site.start_workers(1)
        yield site
    finally:
        site.close()


async def outcome(request: asyncio.Task[dict]) -> dict | Rejected:
    try:
        return await request
    except Rejected as rejected:
        return rejected


def test_the_limits_are_settings_of_the_installation(limited: Site) -> None:
    shown = json.loads(limited.run("--json", "topology", "show"))["settings"]["throttling"]
    assert shown == {
        "tenant_inits_per_second": 0,
        "tenant_statuses_per_second": 0,
        "account_inits_per_second": PER_SECOND,
        "account_statuses_per_second": PER_SECOND,
    }


def test_a_backend_that_waits_for_its_time_gets_its_answer(
    limited: Site, account: str
) -> None:
    async def play() -> None:
        async with Backend(limited.url, "acme", limited.namespace) as backend:
            streams = [new_stream_id() for _ in range(BURST + 5)]
            asked = (outcome(backend.open(account, stream=stream)) for stream in streams)
            outcomes = dict(zip(streams, await asyncio.gather(*asked), strict=True))
            throttled = {k: v for k, v in outcomes.items() if isinstance(v, Rejected)}
            assert 1 <= len(throttled) <= 5
            assert all(rejected.code == "throttled" for rejected in throttled.values())
            assert all(rejected.retryable for rejected in throttled.values())
            activity = (await backend.status(account, consistency="strong"))["activity"]
            assert {it["stream"] for it in activity["streams"]} == outcomes.keys() - throttled
            # Each has a time of its own, at which its repetition is accepted.
            began = time.monotonic()
            for stream, rejected in sorted(throttled.items(), key=lambda it: it[1].retry_after_ms):
                left = rejected.retry_after_ms / 1000 - (time.monotonic() - began)
                await asyncio.sleep(max(left, 0))
                assert (await backend.open(account, stream=stream))["type"] == "opened"

    asyncio.run(play())
    limited.assert_workers_run()


def test_the_limit_is_that_of_the_account_in_the_body_if_nothing_else_names_it(
    limited: Site, account: str
) -> None:
    with limited.client(confirms=False) as client:
        body = json.dumps({"account": account}).encode()
        asked = [client.publish("status", body) for _ in range(3 * BURST)]
        types = [client.wait_for(one).type for one in asked[: BURST + 5]]
        assert BURST <= types.count("activity") < BURST + 5, types


def test_throttled_requests_are_counted(limited: Site, account: str, other_account: str) -> None:
    with limited.client(confirms=False) as client:
        before = sum(limited.metric("streamwatch_throttled_total").values())
        asked = [client.publish("status", {"account": account}) for _ in range(5 * BURST)]
        types = [client.wait_for(one).type for one in asked[: BURST + 5]]
        # The others got no reply, and this account is not affected.
        assert client.status(other_account).type == "activity"
        throttled = limited.metric("streamwatch_throttled_total")
        assert sum(throttled.values()) - before >= 5 * BURST - types.count("activity") - 10
        assert throttled['kind="status",limit="account",outcome="dropped"'] >= 1
        by_tenant = limited.metric("streamwatch_tenant_throttled_total")
        assert by_tenant['tenant="acme"'] == sum(throttled.values())
