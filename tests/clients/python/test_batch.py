"""Batches: heartbeats and stops of many players in one message."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from contextlib import closing
from typing import Any

import pytest

from installations import Installation
from processes import Site, eventually
from roles import A_VIEWER, BACKEND, PLAYER, STOMP, Action, At, outcome
from streamwatch_client import StreamwatchClient, new_stream_id
from test_lifecycle import Follower

SITE = {"ttl": 60.0, "heartbeat_every": 20.0, "partitions": 4}
PLUGINS = "rabbitmq_consistent_hash_exchange,rabbitmq_mqtt"

Event = dict[str, Any]


def heartbeat(account: str, stream: str, **fields: Any) -> Event:
    return {"kind": "heartbeat", "account": account, "stream": stream} | fields


def stop(account: str, stream: str) -> Event:
    return {"kind": "stop", "account": account, "stream": stream}


def place(client: StreamwatchClient, account: str) -> dict[str, int]:
    """The partition of an account, as a reply states it."""
    reply = client.status(account)
    return {"partition": reply["partition"], "partitions": reply["partitions"]}


def neighbours(client: StreamwatchClient, account: str, count: int) -> tuple[int, list[str]]:
    """Several accounts of one partition."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for n in range(100):
        name = f"{account}-{n}"
        partition = place(client, name)["partition"]
        found[partition].append(name)
        if len(found[partition]) == count:
            return partition, found[partition]
    raise AssertionError("the accounts are spread too thinly")


def playing(client: StreamwatchClient, account: str) -> set[str]:
    return set(client.status(account, consistency="strong").streams)


@pytest.fixture
def leader(site: Site) -> Site:
    """The site, whose leaders reply to what is in the log."""
    site.wait_for_leader()
    return site


# The partition


@pytest.mark.parametrize("kind", ["init", "status"])
def test_a_reply_to_a_request_states_the_partition_of_its_account(
    site: Site, client: StreamwatchClient, account: str, kind: str
) -> None:
    reply = client.request(kind, {"account": account})
    assert reply["partitions"] == 4
    assert reply["partition"] in range(4)
    assert place(client, account)["partition"] == reply["partition"]
    refused = client.init(account, new_stream_id(), max_active=1, message_id="other")
    if kind == "init":
        assert refused.type == "refused"
    assert refused["partition"] == reply["partition"]


def test_the_events_of_many_accounts_count(client: StreamwatchClient, account: str) -> None:
    partition, names = neighbours(client, account, 5)
    streams = {name: new_stream_id() for name in names}
    events = [heartbeat(n, s, metadata={"device": "tv"}) for n, s in streams.items()]
    client.batch(partition, events, partitions=4)
    for name, stream in streams.items():
        record = client.status(name, consistency="strong").streams[stream]
        assert (record["metadata"], record["admitted"]) == ({"device": "tv"}, False)
    client.batch(partition, [stop(n, s) for n, s in streams.items()])
    assert [playing(client, name) for name in names] == [set()] * 5


@pytest.mark.parametrize("stale", ["another partition", "another number of partitions"])
def test_a_batch_for_another_partition_is_rejected_as_a_whole(
    leader: Site, client: StreamwatchClient, account: str, stale: str
) -> None:
    partition = place(client, account)["partition"]
    before = leader.bad_input()["wrong_partition"]
    meant, of = (partition, 8) if stale == "another number of partitions" else (partition ^ 1, 4)
    asked = client.batch(meant, [heartbeat(account, new_stream_id())], partitions=of)
    reply = client.wait_for(asked)
    assert (reply.type, reply["error"]["code"]) == ("error", "wrong_partition")
    assert (reply["error"]["field"], reply["error"]["retryable"]) == ("partition", False)
    assert playing(client, account) == set()

    # Every replica has counted it.
    def counted() -> bool:
        return leader.bad_input()["wrong_partition"] == before + 2

    eventually(counted, "both workers have counted it")


def test_a_batch_without_the_header_is_routed_by_its_first_valid_event(
    leader: Site, client: StreamwatchClient, account: str
) -> None:
    partition, (first, second) = neighbours(client, account, 2)
    streams = {first: new_stream_id(), second: new_stream_id()}
    events = [{"kind": "stop"}] + [heartbeat(n, s) for n, s in streams.items()]
    asked = client.batch(partition, events, headers={})
    for name, stream in streams.items():
        eventually(lambda n=name, s=stream: playing(client, n) == {s}, "the batch is routed")
    assert [news["index"] for news in client.wait_for(asked)["events"]] == [0]
    asked = client.batch(partition ^ 1, events[1:], headers={})
    assert client.wait_for(asked)["error"]["code"] == "wrong_partition"


# Compression


@pytest.mark.parametrize("header", ["with the header", "without the header"])
def test_the_events_of_a_gzip_batch_count(
    client: StreamwatchClient, account: str, header: str
) -> None:
    partition, names = neighbours(client, account, 3)
    streams = {name: new_stream_id() for name in names}
    events = [heartbeat(n, s, metadata={"device": "tv"}) for n, s in streams.items()]
    without = {} if header == "with the header" else {"headers": {}}
    client.publish("batch", zipped(partition, events), **gzip_of(names[0]) | without)
    for name, stream in streams.items():
        eventually(lambda n=name, s=stream: playing(client, n) == {s}, "the batch counts")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (gzip.compress(b" " * 100_000_000), "too_large"),
        (b'{"partition":0,"events":[]}', "bad_json"),
        (gzip.compress(b"{}")[:-4], "bad_json"),
        (gzip.compress(b"[]"), "bad_json"),
    ],
    ids=["100 MB of spaces", "plain JSON", "an end that is missing", "an array"],
)
def test_a_gzip_body_that_is_no_batch_is_rejected(
    leader: Site, client: StreamwatchClient, account: str, body: bytes, code: str
) -> None:
    asked = client.publish("batch", body, **gzip_of(account))
    assert client.wait_for(asked)["error"]["code"] == code


def test_a_gzip_body_of_another_kind_is_rejected(
    client: StreamwatchClient, account: str
) -> None:
    body = gzip.compress(json.dumps({"account": account}).encode())
    reply = client.request("status", body, **gzip_of(account))
    assert reply["error"]["code"] == "bad_json"
    assert "gzip" in reply["error"]["message"]


def zipped(partition: int, events: list[Event]) -> bytes:
    return gzip.compress(json.dumps({"partition": partition, "events": events}).encode())


def gzip_of(account: str) -> dict[str, Any]:
    return {"content_encoding": "gzip", "headers": {"account": account}}


# Order and repetition


def test_events_of_one_account_take_effect_in_order(
    client: StreamwatchClient, account: str
) -> None:
    partition, (one, other) = neighbours(client, account, 2)
    stays, ends, before = (new_stream_id() for _ in range(3))
    client.batch(
        partition,
        [
            heartbeat(one, ends),
            stop(one, before),
            heartbeat(other, ends),
            heartbeat(one, stays, metadata={"channel": "1"}),
            stop(one, ends),
            heartbeat(one, before),
            heartbeat(one, ends),
            heartbeat(one, stays, metadata={"channel": "2"}),
        ],
    )
    streams = client.status(one, consistency="strong").streams
    assert {s: r["metadata"] for s, r in streams.items()} == {stays: {"channel": "2"}}
    assert playing(client, other) == {ends}
    assert client.status(one, stream=ends)["state"] == "stopped"
    assert client.status(one, stream=before)["state"] == "stopped"


def test_the_lifecycle_of_a_batch_is_that_of_its_events_in_order(
    leader: Site, client: StreamwatchClient, account: str
) -> None:
    with closing((follower := Follower(leader, "lifecycle", "acme.*")).connection):
        first, second = new_stream_id(), new_stream_id()
        partition = place(client, account)["partition"]
        events = [heartbeat(account, first), heartbeat(account, second), stop(account, first)]
        events.append(heartbeat(account, first))
        events.append(stop(account, second))
        for _ in range(2):  # the repetition changes nothing
            client.batch(partition, events, want_bad_news=False)
        told = follower.wait_for(account, 4)
        client.heartbeat(account, last := new_stream_id(), want_bad_news=False)
        told = follower.wait_for(account, 5)
    assert [(event["type"], event["stream"], event["count"]) for event in told] == [
        ("opened", first, 1),
        ("opened", second, 2),
        ("stopped", first, 1),
        ("stopped", second, 0),
        ("opened", last, 1),
    ]


def test_a_repeated_batch_does_not_count_twice(client: StreamwatchClient, account: str) -> None:
    partition, names = neighbours(client, account, 3)
    plays = {name: new_stream_id() for name in names}
    ended = {name: new_stream_id() for name in names}
    events = [heartbeat(n, s) for n, s in [*plays.items(), *ended.items()]]
    events += [stop(n, s) for n, s in ended.items()]
    for _ in range(3):
        client.batch(partition, events, want_bad_news=False)
        assert [playing(client, name) for name in names] == [{plays[name]} for name in names]


def test_a_batch_survives_a_restart_of_the_workers(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    partition = place(client, account)["partition"]
    stays, ends = new_stream_id(), new_stream_id()
    client.batch(
        partition, [heartbeat(account, ends), heartbeat(account, stays), stop(account, ends)]
    )
    (again,) = site.start_workers(1)
    for worker in site.workers:
        if worker is not again and worker.running:
            worker.process.terminate()
            assert worker.wait_end() == 0
    site.workers[:] = [again]
    site._is_led = False
    site.start_workers(1)
    assert playing(client, account) == {stays}
    assert client.status(account, stream=ends)["state"] == "stopped"


# Bad events and bad news


def test_one_bad_event_is_rejected_alone_and_named(
    leader: Site, client: StreamwatchClient, account: str
) -> None:
    partition, (one, other) = neighbours(client, account, 2)
    streams = [new_stream_id(), new_stream_id()]
    bad = {"kind": "heartbeat", "account": one, "stream": "x"}
    with closing((follower := Follower(leader, "rejected", "acme.bad_field")).connection):
        before = leader.bad_input()["bad_field"]
        events = [heartbeat(one, streams[0]), bad, heartbeat(other, streams[1])]
        reply = client.wait_for(client.batch(partition, events))
        assert reply.type == "batch"
        (news,) = reply["events"]
        assert (news["index"], news["type"]) == (1, "error")
        assert (news["error"]["code"], news["error"]["field"]) == ("bad_field", "stream")
        assert (playing(client, one), playing(client, other)) == ({streams[0]}, {streams[1]})
        eventually(lambda: follower.take() or follower.heard, "the rejection is published")
        ((_, _, rejected),) = follower.heard
        assert (rejected["index"], rejected["field"]) == (1, "stream")
        assert rejected["routing_key"] == "acme.batch"
        counted = lambda: leader.bad_input()["bad_field"] == before + 2  # noqa: E731
        eventually(counted, "both workers have counted it")


def test_all_bad_news_come_in_one_reply(
    leader: Site, client: StreamwatchClient, account: str
) -> None:
    partition, names = neighbours(client, account, 3)
    stopped, replaced, plays, slow = (new_stream_id() for _ in range(4))
    client.init(names[0], stopped)
    client.stop(names[0], stopped)
    client.init(names[1], replaced)
    client.init(names[1], plays, replace=[replaced])
    events = [
        heartbeat(names[1], replaced),
        heartbeat(names[2], new_stream_id()),
        heartbeat(names[0], stopped),
        {"kind": "stop", "account": names[0]},
        heartbeat(names[1], plays, heartbeat_every_ms=20_000),
        heartbeat(names[2], slow, heartbeat_every_ms=1_000),
        stop(names[0], stopped),
    ]
    reply = client.wait_for(client.batch(partition, events))
    assert reply.type == "batch" and "truncated" not in reply.body
    news = [(n["index"], n["type"], n.get("reason"), n.get("stream")) for n in reply["events"]]
    assert news == [
        (0, "stopped", "replaced", replaced),
        (2, "stopped", "stopped", stopped),
        (3, "error", None, None),
        (5, "interval", None, slow),
    ]
    assert reply["events"][3]["heartbeat_every_ms"] == 20_000
    assert client.listen(1.0) == [], "one reply"


def test_a_batch_without_bad_news_gets_no_reply(
    leader: Site, client: StreamwatchClient, account: str
) -> None:
    partition = place(client, account)["partition"]
    client.batch(partition, [heartbeat(account, new_stream_id())])
    client.batch(partition, [], headers={"account": account})
    assert client.listen(1.0) == []


# Bounds


def raw(client: StreamwatchClient, account: str, body: bytes) -> str:
    return client.publish("batch", body, headers={"account": account})


def test_a_batch_has_at_most_1000_events(
    leader: Site, client: StreamwatchClient, account: str
) -> None:
    account = account[-8:]  # so that the events fit into 128 KiB
    partition = place(client, account)["partition"]
    stream = new_stream_id()
    most = [heartbeat(account, stream)] * 999 + [stop(account, stream)]
    client.batch(partition, most)
    assert client.status(account, stream=stream, consistency="strong")["state"] == "stopped"
    assert client.inbox == []
    reply = client.wait_for(client.batch(partition, [*most, stop(account, stream)]))
    assert (reply["error"]["code"], reply["error"]["field"]) == ("bad_field", "events")


def test_a_batch_has_at_most_128_kib(
    leader: Site, client: StreamwatchClient, account: str
) -> None:
    partition = place(client, account)["partition"]
    stream = new_stream_id()
    body = json.dumps({"partition": partition, "events": [heartbeat(account, stream)]}).encode()
    raw(client, account, body.ljust(128 * 1024))
    assert playing(client, account) == {stream}
    assert client.inbox == []
    reply = client.wait_for(raw(client, account, body.ljust(128 * 1024 + 1)))
    assert reply["error"]["code"] == "too_large"
    # Other messages keep their bound.
    reply = client.request("status", json.dumps({"account": account}).encode().ljust(16 * 1024 + 1))
    assert reply["error"]["code"] == "too_large"


BAD: dict[str, tuple[bytes, str, str | None]] = {
    "no JSON": (b"{", "bad_json", None),
    "an array": (b"[0, []]", "bad_json", None),
    "no partition": (b'{"events": []}', "missing_field", "partition"),
    "no events": (b'{"partition": 0}', "missing_field", "events"),
    "a negative partition": (b'{"partition": -1, "events": []}', "bad_field", "partition"),
    "events that are no array": (b'{"partition": 0, "events": {}}', "bad_field", "events"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_batch_with_bad_fields_of_its_own_is_rejected_as_a_whole(
    leader: Site, client: StreamwatchClient, account: str, name: str
) -> None:
    body, code, field = BAD[name]
    error = client.wait_for(raw(client, account, body))["error"]
    assert (error["code"], error.get("field")) == (code, field)


def test_the_routing_key_of_a_batch_names_no_account(
    leader: Site, client: StreamwatchClient, account: str
) -> None:
    partition = place(client, account)["partition"]
    asked = client.batch(
        partition, [heartbeat(account, new_stream_id())], account_in_key=account
    )
    assert client.wait_for(asked)["error"]["code"] == "account_mismatch"
    assert playing(client, account) == set()


# Roles


@pytest.mark.parametrize("role", [PLAYER, STOMP, A_VIEWER])
def test_the_role_of_a_player_may_not_publish_batches(here: Installation, role: str) -> None:
    batch = Action("publish a batch", lambda at: at.publish(at.exchange, "acme.batch"))
    with here.channel(role) as channel:
        assert outcome(At(here.exchange, channel, False), batch) == 403


def test_the_role_of_a_backend_may_publish_batches(here: Installation) -> None:
    with here.client(BACKEND) as client:
        partition = place(client, "alice")["partition"]
        stream = new_stream_id()
        client.batch(partition, [heartbeat("alice", stream)], partitions=here.partitions)
        assert stream in playing(client, "alice")
