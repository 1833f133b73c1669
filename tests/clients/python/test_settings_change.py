"""A lower TTL ends no running stream, and no flood of stops brings a stopped one back."""

import time

from processes import Site
from streamwatch_client import StreamwatchClient, new_stream_id
from test_lifecycle import Follower, follower  # noqa: F401

SITE = {"ttl": 4.0, "heartbeat_every": 1.3}


def test_a_stopped_stream_stays_stopped_under_a_flood_of_other_stops(
    client: StreamwatchClient, account: str
) -> None:
    stream = client.init(account)["stream"]
    client.stop(account, stream)
    for _ in range(1_500):
        client.stop(account, new_stream_id())
    client.heartbeat(account, stream)
    reply = client.status(account, stream=stream, consistency="strong")
    assert (reply.count, reply["state"]) == (0, "stopped")
    refused = client.init(account)
    assert (refused.type, refused["reason"]) == ("refused", "account_cap")


def test_a_lower_ttl_ends_no_running_stream(
    site: Site,
    client: StreamwatchClient,
    follower: Follower,  # noqa: F811
    account: str,
    other_account: str,
) -> None:
    """One player names the interval that it was sent and adopts another, one names none."""
    opened = client.init(account)
    every_ms = opened["heartbeat_every_ms"]
    streams = {account: opened["stream"], other_account: client.init(other_account)["stream"]}
    site.run("topology", "set", "--ttl", "1s", "--heartbeat-every", "300ms")
    due = dict.fromkeys(streams, time.monotonic())
    end = time.monotonic() + 8 * site.heartbeat_every
    told, counts = 0, []
    while time.monotonic() < end:
        now = time.monotonic()
        if now >= due[account]:
            client.heartbeat(account, streams[account], heartbeat_every_ms=every_ms)
            if news := client.news(timeout=0.15):
                every_ms, told = news["heartbeat_every_ms"], told + 1
            due[account] = now + every_ms / 1000
        if now >= due[other_account]:
            client.heartbeat(other_account, streams[other_account], want_bad_news=False)
            due[other_account] = now + site.heartbeat_every
        counts += [client.status(name).count for name in streams]
        time.sleep(0.05)
    assert set(counts) == {1}, f"counted in {sum(counts)} of {len(counts)} looks"
    assert every_ms == 300
    # Notified at the old interval, and once more until the shorter TTL takes effect.
    assert 1 <= told <= 3
    for name in streams:
        assert [event["type"] for event in follower.events(name)] == ["opened"]
    # It lives by the TTL of 1 s now.
    silent = time.monotonic()
    while client.status(account).count:
        time.sleep(0.02)
    assert time.monotonic() - silent < 2.5
