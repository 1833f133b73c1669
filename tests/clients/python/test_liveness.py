"""When a stream counts: from its first sign of life until it stops, or falls silent."""

import time
from collections.abc import Callable
from datetime import datetime

import pytest

from processes import Site
from streamwatch_client import Reply, StreamwatchClient, new_stream_id

# Tolerance of upper bounds on a busy machine. Lower bounds are exact.
SLACK = 1.0


def beat(client: StreamwatchClient, account: str, stream: str) -> tuple[float, float]:
    """Sends a heartbeat. Its sign of life lies between the two times."""
    sent_at = time.monotonic()
    client.heartbeat(account, stream)
    return sent_at, time.monotonic()


def ask_until(
    client: StreamwatchClient,
    account: str,
    condition: Callable[[Reply], bool],
    within: float = 15.0,
    **question: str,
) -> tuple[float, Reply]:
    """Asks until an answer fits. Returns when that was asked, and the answer."""
    deadline = time.monotonic() + within
    while True:
        asked_at = time.monotonic()
        reply = client.status(account, **question)
        if condition(reply):
            return asked_at, reply
        assert asked_at < deadline, f"not within {within} s; the last answer: {reply.body}"
        time.sleep(0.02)


def test_heartbeats_keep_a_stream_for_longer_than_the_ttl(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    opened = client.init(account, metadata={"device": "tv"})
    stream, started = opened["stream"], time.monotonic()
    started_at = opened.streams[stream]["started_at"]
    last_seen = opened.streams[stream]["last_seen"]
    while time.monotonic() < started + 3 * site.ttl:
        client.heartbeat(account, stream)
        for _ in range(4):
            for consistency in ["local", "strong"]:
                reply = client.status(account, consistency=consistency)
                assert list(reply.streams) == [stream]
            time.sleep(site.heartbeat_every / 4)
    record = client.status(account, consistency="strong").streams[stream]
    assert record["started_at"] == started_at
    assert record["last_seen"] > last_seen
    assert record["metadata"] == {"device": "tv"}, "a heartbeat without metadata keeps it"
    assert client.inbox == [], "good news is no news"


@pytest.mark.parametrize("consistency", ["local", "strong"])
def test_silence_drops_a_stream_at_the_ttl_and_not_before(
    site: Site, client: StreamwatchClient, account: str, consistency: str
) -> None:
    stream = client.init(account)["stream"]
    # The last sign of life counts, not the first.
    time.sleep(site.ttl / 4)
    sent_at, confirmed_at = beat(client, account, stream)
    asked_at, gone = ask_until(client, account, lambda r: r.count == 0, consistency=consistency)
    assert gone.received_at - sent_at >= site.ttl, "dropped too early"
    assert asked_at - confirmed_at <= site.ttl + 2 * site.interval + SLACK, "dropped too late"


def test_expires_in_ms_counts_down(site: Site, client: StreamwatchClient, account: str) -> None:
    stream = client.init(account)["stream"]
    first = client.status(account, consistency="strong")
    time.sleep(site.ttl / 2)
    second = client.status(account, consistency="strong")
    passed_ms = (second.received_at - first.received_at) * 1000
    left_ms = [reply.streams[stream]["expires_in_ms"] for reply in (first, second)]
    assert 0 < left_ms[1] < left_ms[0] <= site.ttl * 1000
    assert abs((left_ms[0] - left_ms[1]) - passed_ms) < (2 * site.interval + SLACK) * 1000
    # The deadline itself stands still, but for the smoothing of the times shown.
    deadlines = [
        datetime.fromisoformat(reply.streams[stream]["expires_at"]) for reply in (first, second)
    ]
    assert abs((deadlines[1] - deadlines[0]).total_seconds()) < 2 * site.interval + SLACK


def test_a_stop_drops_a_stream_at_once(client: StreamwatchClient, account: str) -> None:
    stays, goes = client.init(account)["stream"], client.init(account)["stream"]
    client.stop(account, goes)
    assert list(client.status(account, consistency="strong").streams) == [stays]


def test_a_heartbeat_without_an_init_counts(client: StreamwatchClient, account: str) -> None:
    stream = new_stream_id()
    client.heartbeat(account, stream, metadata={"device": "tv"})
    record = client.status(account, consistency="strong").streams[stream]
    assert record["admitted"] is False, "it was not admitted, yet it plays"
    assert record["metadata"] == {"device": "tv"}


def test_metadata_in_a_heartbeat_is_merged(client: StreamwatchClient, account: str) -> None:
    first = {"device": "tv", "channel": "one", "asset": "a"}
    opened = client.init(account, metadata=first)
    changes = {"channel": "two", "asset": None, "bitrate": 5000, "hdr": True}
    client.heartbeat(account, opened["stream"], metadata=changes)
    record = client.status(account, consistency="strong").streams[opened["stream"]]
    merged = {"device": "tv", "channel": "two", "bitrate": "5000", "hdr": "true"}
    assert record["metadata"] == merged
    assert record["admitted"] is True


def test_a_heartbeat_does_not_revive_a_stopped_stream(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    stream = client.init(account)["stream"]
    client.stop(account, stream)
    stopped = time.monotonic()
    # However long it goes on: each heartbeat renews the tombstone.
    while time.monotonic() < stopped + 1.5 * site.ttl:
        client.heartbeat(account, stream, want_bad_news=False)
        reply = client.status(account, stream=stream, consistency="strong")
        assert (reply.count, reply["state"]) == (0, "stopped")
        time.sleep(site.heartbeat_every / 2)


def test_a_heartbeat_after_the_stop_gets_one_reply(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    site.wait_for_leader()
    stream = client.init(account)["stream"]
    client.stop(account, stream)
    heartbeats = [client.heartbeat(account, stream) for _ in range(5)]
    told = [client.bad_news() for _ in heartbeats]
    assert [news.properties.correlation_id for news in told] == heartbeats
    assert all(news["reason"] == "stopped" and news["stream"] == stream for news in told)
    # Two workers read those heartbeats, and one of them answers.
    client.status(account, consistency="strong")
    assert client.listen(3 * site.interval) == []


def test_a_heartbeat_of_a_replaced_stream_gets_the_reason(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    site.wait_for_leader()
    old = client.init(account)["stream"]
    assert client.init(account, replace=[old]).type == "opened"
    client.heartbeat(account, old)
    news = client.bad_news()
    assert news is not None
    assert (news["reason"], news["stream"]) == ("replaced", old)


def test_a_heartbeat_after_the_ttl_starts_the_stream_again(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    opened = client.init(account)
    stream = opened["stream"]
    # Strong, for an entry that comes later is judged at a later moment. A local answer runs ahead.
    ask_until(client, account, lambda reply: reply.count == 0, consistency="strong")
    # A device that slept past its TTL is not locked out: it plays, so it counts.
    client.heartbeat(account, stream)
    record = client.status(account, consistency="strong").streams[stream]
    assert record["admitted"] is False
    assert record["started_at"] > opened.streams[stream]["started_at"]


def test_the_state_of_a_stream_is_returned_from_its_start_until_its_record_is_gone(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    silent, stopped = client.init(account)["stream"], client.init(account)["stream"]
    never = new_stream_id()
    question = {"consistency": "strong"}

    def state(stream: str) -> str:
        return client.status(account, stream=stream, **question)["state"]

    assert (state(silent), state(stopped), state(never)) == ("active", "active", "unknown")
    stop_sent_at = time.monotonic()
    client.stop(account, stopped)
    stop_confirmed_at = time.monotonic()
    sent_at, confirmed_at = beat(client, account, silent)

    # The first reply with each state, by stream: (asked, received, state).
    changes: dict[str, list[tuple[float, float, str]]] = {silent: [], stopped: []}
    # A stop is remembered for the TTL, and as long as its init may still be delivered and decided:
    # 10 s in the queue, and 10 s more, or the TTL where that is less.
    remembered = max(site.ttl, 10 + min(10, site.ttl))
    deadline = time.monotonic() + 2 * site.ttl + remembered
    while any(not seen or seen[-1][2] != "unknown" for seen in changes.values()):
        assert time.monotonic() < deadline, changes
        for stream, seen in changes.items():
            asked_at = time.monotonic()
            reply = client.status(account, stream=stream, **question)
            if not seen or seen[-1][2] != reply["state"]:
                seen.append((asked_at, reply.received_at, reply["state"]))
        time.sleep(0.02)

    assert [state for _, _, state in changes[silent]] == ["active", "expired", "unknown"]
    (_, expired, unknown) = changes[silent]
    lag = 2 * site.interval
    assert expired[1] - sent_at >= site.ttl
    assert expired[0] - confirmed_at <= site.ttl + lag + SLACK
    assert unknown[1] - sent_at >= 2 * site.ttl
    assert unknown[0] - confirmed_at <= 2 * site.ttl + 2 * lag + SLACK

    assert [state for _, _, state in changes[stopped]] == ["stopped", "unknown"]
    (_, forgotten) = changes[stopped]
    # Nothing hangs on a tombstone's last moments: it has no grace for log time that lags.
    assert forgotten[1] - stop_sent_at >= remembered - lag
    assert forgotten[0] - stop_confirmed_at <= remembered + lag + SLACK
