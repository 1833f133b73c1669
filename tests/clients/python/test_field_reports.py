"""Reports of people who limit streams for a living, each as a test."""

from __future__ import annotations

import time
import uuid
from typing import Any

from processes import Site, eventually
from streamwatch_client import Reply, StreamwatchClient, new_stream_id
from test_lifecycle import Follower, follower  # noqa: F401

SITE = {"ttl": 2.0, "heartbeat_every": 0.5}

LIVE = {"max": 1, "where": {"kind": ["live"]}}
PLAYING = {"max": 1, "where": {"state": ["playing"]}}


def played(client: StreamwatchClient, account: str) -> list[str]:
    return list(client.status(account, consistency="strong").streams)


def bad_news(client: StreamwatchClient, account: str, stream: str) -> Reply:
    """The reply to a heartbeat of a stream that has ended."""

    def ask() -> Reply | None:
        client.heartbeat(account, stream)
        return client.bad_news(timeout=0.2)

    return eventually(ask, "the news arrives", every=0.1)


def test_a_limit_of_devices_counts_two_streams_of_a_device_once(
    client: StreamwatchClient, account: str
) -> None:
    def on(device: str) -> str:
        limits = [{"max": 2, "distinct": "device"}]
        return client.init(account, metadata={"device": device}, limits=limits).type

    assert [on("tv"), on("tv"), on("phone"), on("tablet")] == ["opened"] * 3 + ["refused"]


def test_a_limit_of_channels_counts_each_channel(client: StreamwatchClient, account: str) -> None:
    def of(channel: str) -> str:
        limits = [{"max": 2, "where": {"channel": [channel]}}]
        return client.init(account, metadata={"channel": channel}, limits=limits).type

    assert [of("one"), of("two"), of("one"), of("one")] == ["opened"] * 3 + ["refused"]
    assert of("two") == "opened"


def test_a_trailer_uses_up_no_live_limit(client: StreamwatchClient, account: str) -> None:
    kinds = ["trailer", "live", "trailer", "live"]
    replies = [client.init(account, metadata={"kind": kind}, limits=[LIVE]) for kind in kinds]
    assert [reply.type for reply in replies] == ["opened"] * 3 + ["refused"]
    live = replies[1]["stream"]
    assert replies[3]["conflicts"] == [{"limit": 0, "streams": [live]}]


def test_a_restarted_player_is_not_refused_by_its_own_stream(
    client: StreamwatchClient, account: str
) -> None:
    def restarted(device: str) -> Reply:
        metadata = {"device": device}
        return client.init(account, metadata=metadata, max_active=1, same=["device"])

    crashed = restarted("tv-1")["stream"]
    again = restarted("tv-1")
    assert (again.type, again["replaced"]) == ("opened", [crashed])
    assert restarted("tv-2").type == "refused"
    assert played(client, account) == [again["stream"]]


def test_the_oldest_stream_ends_and_its_player_gets_the_reason(
    client: StreamwatchClient, account: str
) -> None:
    streams = [client.init(account)["stream"] for _ in range(3)]
    newest = client.init(
        account, limits=[{"max": 3}], on_limit="replace_oldest", reason="a newer device"
    )
    assert newest["replaced"] == streams[:1]
    news = bad_news(client, account, streams[0])
    assert (news["reason"], news["given_reason"]) == ("replaced", "a newer device")
    for stream in streams[1:]:
        assert client.status(account, stream=stream)["state"] == "active"


def test_paused_playback_frees_its_place_and_takes_one_to_go_on(
    client: StreamwatchClient, account: str
) -> None:
    playing = {"metadata": {"state": "playing"}, "limits": [PLAYING]}
    first = client.init(account, **playing)["stream"]
    assert client.init(account, **playing).type == "refused"
    client.heartbeat(account, first, metadata={"state": "paused"})
    second = client.init(account, **playing)["stream"]
    # The paused stream goes on as another one, which is decided.
    assert client.init(account, replace=[first], **playing).type == "refused"
    client.stop(account, second)
    goes_on = client.init(account, replace=[first], **playing)
    assert (goes_on.type, goes_on["replaced"]) == ("opened", [first])
    assert played(client, account) == [goes_on["stream"]]


def test_a_kicked_account_learns_the_reason_and_stays_out_for_a_ttl(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    streams = [client.init(account)["stream"] for _ in range(3)]
    begun = new_stream_id()
    client.heartbeat(account, begun)
    client.stop_all(account, reason="account shared")
    for stream in [*streams, begun]:
        news = bad_news(client, account, stream)
        assert (news["reason"], news["given_reason"]) == ("stopped", "account shared")
    # Heartbeats of the ended streams bring none of them back, nor does their `init`.
    until = time.monotonic() + 1.5 * site.ttl
    while time.monotonic() < until:
        client.heartbeat(account, streams[0])
        assert client.status(account, consistency="strong").count == 0
        time.sleep(0.1)
    refused = client.init(account, streams[0])
    assert (refused.type, refused["reason"]) == ("refused", "stopped")
    assert refused["retry_after_ms"] >= 1_000 * site.ttl - 500
    assert client.init(account).type == "opened", "a new stream may start at once"


def test_a_boolean_in_each_heartbeat_never_ends_a_stream_that_plays(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    stream = client.init(account, metadata={"device": "tv"})["stream"]
    until = time.monotonic() + 2 * site.ttl
    while time.monotonic() < until:
        for metadata in [{"hba": True}, {"hba": {"is": True}}]:
            body = {"account": account, "stream": stream, "metadata": metadata}
            client.publish("heartbeat", body, want_reply=False)
        assert played(client, account) == [stream]
        time.sleep(site.heartbeat_every)
    record = client.status(account, consistency="strong").streams[stream]
    assert record["metadata"] == {"device": "tv", "hba": "true"}


def test_a_follower_that_counts_opened_minus_ends_does_not_drift(
    client: StreamwatchClient,
    follower: Follower,  # noqa: F811
    account: str,
) -> None:
    stream = new_stream_id()
    client.heartbeat(account, stream, want_bad_news=False)
    client.init(account, stream)
    client.stop(account, stream)
    events = follower.wait_for(account, 3)
    told = [(event["type"], event["count"]) for event in events]
    assert told == [("opened", 1), ("admitted", 1), ("stopped", 0)]


def test_streams_that_expire_at_one_tick_have_different_counts(
    client: StreamwatchClient,
    follower: Follower,  # noqa: F811
    account: str,
) -> None:
    for _ in range(2):
        client.heartbeat(account, new_stream_id(), want_bad_news=False)
    events = follower.wait_for(account, 4)
    told = [(event["type"], event["count"]) for event in events]
    assert told == [("opened", 1), ("opened", 2), ("expired", 1), ("expired", 0)]


def test_a_device_that_repeats_its_message_id_learns_that_the_refusal_is_an_old_one(
    client: StreamwatchClient, account: str
) -> None:
    first = client.init(account)["stream"]
    request: dict[str, Any] = {"stream": new_stream_id(), "max_active": 1}
    once = client.init(account, message_id="once", **request)
    assert once.type == "refused"
    assert not {"remembered", "retry_after_ms"} & set(once.body)
    client.stop(account, first)
    again = client.init(account, message_id="once", **request)
    assert (again.type, again["remembered"], again.count) == ("refused", True, 0)
    assert 0 < again["retry_after_ms"] <= 30_000
    assert "conflicts" not in again.body
    # The way out that the contract describes.
    assert client.init(account, message_id=str(uuid.uuid4()), **request).type == "opened"


def test_a_stopped_stream_gets_the_time_at_which_it_may_start_again(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    stream = client.init(account)["stream"]
    client.stop(account, stream)
    refused = client.init(account, stream)
    assert (refused.type, refused["reason"]) == ("refused", "stopped")
    # The tombstone lasts as long as an `init` of the stream may be under way.
    assert 1_000 * site.ttl <= refused["retry_after_ms"] <= 31_000


def test_a_stream_that_sends_heartbeats_forever_ends_at_the_maximum_age(
    site: Site,
    client: StreamwatchClient,
    follower: Follower,  # noqa: F811
    account: str,
) -> None:
    zombie = client.init(account)["stream"]
    client.heartbeat(account, zombie, want_bad_news=False)
    site.run("topology", "set", "--max-stream-age", "1s")
    try:
        news = bad_news(client, account, zombie)
        assert news["reason"] == "too_old"
        opened, expired = follower.wait_for(account, 2)
        assert (opened["type"], expired["type"]) == ("opened", "expired")
        assert (expired["reason"], expired["count"]) == ("too_old", 0)
        assert client.status(account, stream=zombie)["state"] == "stopped"
    finally:
        site.run("topology", "set", "--max-stream-age", "0s")
