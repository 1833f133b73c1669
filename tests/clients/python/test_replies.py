"""The fields and properties of replies that clients rely on."""

import json
import re
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from processes import Site
from streamwatch_client import Reply, StreamwatchClient, new_stream_id

SITE = {"ttl": 20.0, "heartbeat_every": 5.0}


def instant(text: str) -> datetime:
    """A time in the contract's format: RFC 3339, UTC, milliseconds."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text), text
    return datetime.fromisoformat(text)


def assert_is_a_reply(reply: Reply, type_: str, correlation_id: str) -> None:
    assert reply.type == type_
    assert reply.properties.type == type_
    assert reply.properties.correlation_id == correlation_id
    assert reply.properties.content_type == "application/json"
    assert reply.properties.app_id == "streamwatch"
    assert reply.properties.headers["contract"] == 1
    assert reply.properties.reply_to is None


def assert_is_an_activity(activity: dict[str, Any], account: str, count: int, ttl_ms: int) -> None:
    assert activity["tenant"] == "acme"
    assert activity["account"] == account
    assert activity["count"] == len(activity["streams"]) == count
    as_of = instant(activity["as_of"])
    assert abs((datetime.now(UTC) - as_of).total_seconds()) < 10
    for record in activity["streams"]:
        uuid.UUID(record["stream"])
        assert isinstance(record["admitted"], bool)
        assert isinstance(record["metadata"], dict)
        assert instant(record["started_at"]) <= instant(record["last_seen"])
        assert 0 < record["expires_in_ms"] <= ttl_ms
        assert instant(record["expires_at"]) > as_of


def test_an_init_is_answered_with_the_stream_and_an_activity_that_counts_it(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    stream = new_stream_id()
    correlation_id = client.publish(
        "init", {"account": account, "stream": stream, "metadata": {"device": "tv"}}
    )
    opened = client.wait_for(correlation_id)

    assert_is_a_reply(opened, "opened", correlation_id)
    assert opened["stream"] == stream
    assert opened["heartbeat_every_ms"] == 5_000
    assert opened["ttl_ms"] == 20_000
    assert 0 < opened["expires_in_ms"] <= opened["ttl_ms"]
    assert_is_an_activity(opened.activity, account, count=1, ttl_ms=20_000)
    assert instant(opened["expires_at"]) > instant(opened.activity["as_of"])
    record = opened.streams[stream]
    assert record["admitted"] is True
    assert record["metadata"] == {"device": "tv"}
    assert record["expires_at"] == opened["expires_at"]


def test_an_init_without_a_stream_id_is_given_one(client: StreamwatchClient, account: str) -> None:
    opened = client.init(account)
    assert opened.type == "opened"
    assert str(uuid.UUID(opened["stream"])) == opened["stream"]
    assert list(opened.streams) == [opened["stream"]]


def test_a_refusal_has_the_reason_and_the_activity(client: StreamwatchClient, account: str) -> None:
    playing = client.init(account)["stream"]
    correlation_id = client.publish("init", {"account": account, "max_active": 1})
    refused = client.wait_for(correlation_id)

    assert_is_a_reply(refused, "refused", correlation_id)
    assert refused["reason"] == "max_active"
    assert refused["max_active"] == 1
    assert_is_an_activity(refused.activity, account, count=1, ttl_ms=20_000)
    assert list(refused.streams) == [playing]


@pytest.mark.parametrize("consistency", ["local", "strong"])
def test_a_status_is_answered_with_the_activity(
    client: StreamwatchClient, account: str, consistency: str
) -> None:
    correlation_id = client.publish("status", {"account": account, "consistency": consistency})
    reply = client.wait_for(correlation_id)
    assert_is_a_reply(reply, "activity", correlation_id)
    assert_is_an_activity(reply.activity, account, count=0, ttl_ms=20_000)


def test_bad_news_and_errors_are_replies_like_all_others(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    site.wait_for_leader()
    stream = client.init(account)["stream"]
    client.stop(account, stream)
    correlation_id = client.heartbeat(account, stream)
    assert_is_a_reply(client.wait_for(correlation_id), "stopped", correlation_id)

    correlation_id = client.publish("init", b"{")
    assert_is_a_reply(client.wait_for(correlation_id), "error", correlation_id)


def test_metadata_is_returned_unchanged(client: StreamwatchClient, account: str) -> None:
    metadata = {
        "device": "tv",
        "channel": "Das Erste – HD",
        "application": 'quote " and \\ backslash',
        "platform": "",
        "asset": "电影 🎬",
    }
    opened = client.init(account, metadata=metadata)
    assert opened.streams[opened["stream"]]["metadata"] == metadata
    seen = client.status(account, consistency="strong")
    assert seen.streams[opened["stream"]]["metadata"] == metadata


def test_metadata_may_be_as_large_as_its_limits(client: StreamwatchClient, account: str) -> None:
    # In bytes of UTF-8, not in characters.
    metadata = {f"{n:02}" + "ä" * 31: "ö" * 128 for n in range(16)}
    assert {len(key.encode()) for key in metadata} == {64}
    opened = client.init(account, metadata=metadata)
    assert opened.type == "opened"
    assert opened.streams[opened["stream"]]["metadata"] == metadata


ACCOUNTS = {
    "128 bytes": "ä" * 64,
    "letters of routing keys": "a.b@c.d#*",
    "letters of URLs": "with space/and?more",
    "percent": "%41",
}


@pytest.mark.parametrize("name", ACCOUNTS.values(), ids=ACCOUNTS)
def test_an_account_may_have_any_name_within_its_limits(
    client: StreamwatchClient, name: str
) -> None:
    opened = client.init(name)
    assert opened.activity["account"] == name
    client.stop(name, opened["stream"])
    assert client.status(name, consistency="strong").count == 0


@pytest.mark.parametrize("name", ["alice", "a.b.c@example.com", "ürsula/1 %#*", "50%"])
def test_the_account_may_stand_percent_encoded_in_the_routing_key(
    client: StreamwatchClient, name: str
) -> None:
    body = {"account": name, "stream": new_stream_id()}
    ask = {"account": name, "consistency": "strong"}
    assert client.request("init", body, account_in_key=name).count == 1
    client.publish("heartbeat", body | {"metadata": {"device": "tv"}}, account_in_key=name)
    asked = client.request("status", ask | {"group_by": ["device"]}, account_in_key=name)
    assert asked.activity["by"] == {"device": {"tv": 1}}
    client.publish("stop", body, account_in_key=name)
    assert client.request("status", ask, account_in_key=name).count == 0


def test_a_device_that_cannot_set_headers_is_served(
    client: StreamwatchClient, account: str
) -> None:
    stream = new_stream_id()
    body = {"account": account, "stream": stream}
    assert client.request("init", body, headers=None).type == "opened"
    client.publish("heartbeat", body, headers=None)
    asked = {"account": account, "consistency": "strong"}
    assert client.request("status", asked, headers=None).count == 1
    client.publish("stop", body, headers=None)
    assert client.request("status", asked, headers=None).count == 0


def test_unknown_fields_are_ignored(client: StreamwatchClient, account: str) -> None:
    body = {"account": account, "colour": {"of": ["the", "sky"]}, "v": 2}
    assert client.request("init", body).type == "opened"
    assert client.request("status", body | {"consistency": "strong"}).count == 1


def test_tenants_are_isolated(site: Site, client: StreamwatchClient, account: str) -> None:
    stream = client.init(account)["stream"]
    with site.client(tenant="Other_1") as other:
        assert other.status(account, consistency="strong").count == 0
        # Its stop of the same ids ends nothing here, nor its init counts here.
        other.stop(account, stream)
        opened = other.init(account)
        assert opened.count == 1
        assert opened.activity["tenant"] == "Other_1"
    assert list(client.status(account, consistency="strong").streams) == [stream]


def test_a_correlation_id_as_long_as_amqp_allows_is_echoed(
    client: StreamwatchClient, account: str
) -> None:
    for correlation_id in ["c" * 255, "ü" * 127]:
        body = {"account": account}
        for kind in ["init", "status"]:
            reply = client.request(kind, body, correlation_id=correlation_id)
            assert reply.type in ("opened", "activity")


@pytest.mark.parametrize("headers", [True, False], ids=["by header", "by the intake"])
def test_a_reply_has_the_message_id_if_the_request_has_no_correlation_id(
    client: StreamwatchClient, account: str, headers: bool
) -> None:
    for kind in ["init", "status"]:
        client.publish(
            kind,
            {"account": account},
            correlation_id=None,
            message_id=f"only {kind}",
            headers={"account": account} if headers else {},
        )
        assert client.wait_for(f"only {kind}").type in ("opened", "activity")


@pytest.mark.parametrize("name", ["x-correlation-id", "x-message-id"])
@pytest.mark.parametrize("headers", [True, False], ids=["by header", "by the intake"])
def test_an_id_in_a_header_is_returned_in_a_header(
    client: StreamwatchClient, account: str, name: str, headers: bool
) -> None:
    own = {"account": account} if headers else {}
    for kind in ["init", "status"]:
        long = f"{kind:1024}"
        own[name] = long
        client.publish(kind, {"account": account}, correlation_id=None, headers=own)
        assert client.wait_for(None).properties.headers["x-correlation-id"] == long


@pytest.mark.parametrize("kind", ["init", "status"])
def test_a_request_with_an_id_that_is_too_long_is_rejected(
    site: Site, client: StreamwatchClient, account: str, kind: str
) -> None:
    rejected = client.channel.queue_declare("", exclusive=True).method.queue
    client.channel.queue_bind(rejected, f"{site.namespace}streamwatch.rejected", "#")
    for headers in [{"account": account}, {}]:
        headers["x-message-id"] = "i" * 1_025
        client.publish(kind, {"account": account}, correlation_id=None, headers=headers)
        deadline = time.monotonic() + 10
        while (got := client.channel.basic_get(rejected, auto_ack=True))[2] is None:
            assert time.monotonic() < deadline, "it is not reported"
            time.sleep(0.02)
        assert json.loads(got[2])["field"] == "correlation_id"
    assert client.status(account, consistency="strong").count == 0


def test_a_reply_to_an_ordinary_queue_expires_there(
    client: StreamwatchClient, account: str
) -> None:
    queue = client.channel.queue_declare("", exclusive=True).method.queue
    correlation_id = client.publish("status", {"account": account}, reply_to=queue)
    deadline = time.monotonic() + 10
    while (got := client.channel.basic_get(queue, auto_ack=True))[0] is None:
        assert time.monotonic() < deadline, "no reply in the queue"
        time.sleep(0.02)
    reply = Reply(json.loads(got[2]), got[1])
    assert_is_a_reply(reply, "activity", correlation_id)
    assert int(reply.properties.expiration) > 0


@pytest.mark.parametrize("kind", ["init", "heartbeat", "stop", "status"])
def test_a_message_without_reply_to_counts_and_gets_no_answer(
    client: StreamwatchClient, account: str, kind: str
) -> None:
    stream = new_stream_id()
    if kind == "stop":
        client.init(account, stream)
    client.publish(kind, {"account": account, "stream": stream}, want_reply=False)
    expected = 1 if kind in ("init", "heartbeat") else 0
    deadline = time.monotonic() + 10
    while client.status(account, consistency="strong").count != expected:
        assert time.monotonic() < deadline
    assert client.inbox == []
