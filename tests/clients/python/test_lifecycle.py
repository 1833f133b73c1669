"""The lifecycle, as a service in Python follows it with a queue of its own."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import pika
import pytest

import contract
from processes import Site, eventually
from streamwatch_client import StreamwatchClient, new_stream_id
from test_replies import instant

SITE = {"ttl": 2.0, "heartbeat_every": 0.5}


class Follower:
    """A queue bound to one of the exchanges, and what has come to it."""

    def __init__(self, site: Site, exchange: str, key: str):
        self.connection = pika.BlockingConnection(pika.URLParameters(site.url))
        self.channel = self.connection.channel()
        self.exchange = exchange
        self.queue = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.queue_bind(self.queue, f"{site.namespace}streamwatch.{exchange}", key)
        self.heard: list[tuple[str, pika.BasicProperties, dict[str, Any]]] = []

    def take(self) -> None:
        while True:
            method, properties, body = self.channel.basic_get(self.queue, auto_ack=True)
            if method is None:
                return
            contract.check(self.exchange, properties, body)
            self.heard.append((method.routing_key, properties, json.loads(body)))

    def events(self, account: str) -> list[dict[str, Any]]:
        """The events of an account, without repetitions."""
        self.take()
        ours = {p.message_id: body for _, p, body in self.heard if body["account"] == account}
        return list(ours.values())

    def wait_for(self, account: str, count: int) -> list[dict[str, Any]]:
        eventually(lambda: len(self.events(account)) >= count, f"{count} events", within=30)
        return self.events(account)


@pytest.fixture
def follower(site: Site) -> Iterator[Follower]:
    follower = Follower(site, "lifecycle", "acme.*")
    yield follower
    follower.connection.close()


def test_opened_replaced_stopped_and_expired_are_published_in_order(
    client: StreamwatchClient, follower: Follower, account: str
) -> None:
    first, second, silent = (new_stream_id() for _ in range(3))
    client.init(account, first, metadata={"device": "tv"})
    client.init(account, second, max_active=1, replace=[first])
    client.stop(account, second)
    client.heartbeat(account, silent, want_bad_news=False)

    events = follower.wait_for(account, 6)
    told = [(event["type"], event["stream"], event["count"]) for event in events]
    assert told == [
        ("opened", first, 1),
        # One step.
        ("stopped", first, 0),
        ("opened", second, 1),
        ("stopped", second, 0),
        ("opened", silent, 1),
        ("expired", silent, 0),
    ]
    opened = events[0]
    assert opened["tenant"] == "acme"
    assert opened["metadata"] == {"device": "tv"}
    assert opened["admitted"] is True
    assert instant(opened["at"]) == instant(opened["started_at"])
    replaced = next(event for event in events if event["type"] == "stopped")
    assert (replaced["reason"], replaced["successor"]) == ("replaced", second)
    assert replaced["metadata"] == {"device": "tv"}
    expired = events[-1]
    assert instant(expired["started_at"]) <= instant(expired["last_seen"]) < instant(expired["at"])
    assert "metadata" not in expired


def test_a_stream_is_opened_once_and_counts_add_up(
    client: StreamwatchClient, follower: Follower, account: str
) -> None:
    late, others = new_stream_id(), [new_stream_id() for _ in range(3)]
    client.heartbeat(account, late, want_bad_news=False)
    client.init(account, late)
    for stream in others:
        client.init(account, stream)
    client.stop_all(account, reason="account closed")
    events = follower.wait_for(account, 9)
    told = [(event["type"], event["stream"], event["count"]) for event in events]
    opened = [("opened", stream, 2 + n) for n, stream in enumerate(others)]
    stopped = [("stopped", stream, 3 - n) for n, stream in enumerate([late, *others])]
    assert told == [("opened", late, 1), ("admitted", late, 1), *opened, *stopped]
    assert {event["given_reason"] for event in events[5:]} == {"account closed"}
    count = 0
    for event in events:
        count += {"opened": 1, "admitted": 0, "stopped": -1}[event["type"]]
        assert event["count"] == count


def test_streams_that_expire_at_one_tick_count_down_to_none(
    client: StreamwatchClient, follower: Follower, account: str
) -> None:
    for _ in range(4):
        client.heartbeat(account, new_stream_id(), want_bad_news=False)
    events = follower.wait_for(account, 8)
    counts = [event["count"] for event in events if event["type"] == "expired"]
    assert counts == [3, 2, 1, 0]


def test_a_refusal_is_published_once_for_all_retries(
    client: StreamwatchClient, follower: Follower, account: str
) -> None:
    client.init(account)
    refused = new_stream_id()
    for _ in range(3):
        assert client.init(account, refused, max_active=1, message_id="m").type == "refused"
    client.stop(account, new_stream_id())  # of no stream: nothing happens
    ended = new_stream_id()
    client.init(account, ended)
    client.stop(account, ended)

    events = follower.wait_for(account, 4)
    assert [event["type"] for event in events[:4]] == ["opened", "refused", "opened", "stopped"]
    assert events[1]["stream"] == refused
    assert (events[1]["reason"], events[1]["max_active"], events[1]["count"]) == ("max_active", 1, 1)


def test_messages_have_the_properties_that_the_contract_names(
    client: StreamwatchClient, follower: Follower, account: str
) -> None:
    name = f"{account}-é/ü"
    client.init(name)
    follower.wait_for(name, 1)
    key, properties, body = next(it for it in follower.heard if it[2]["account"] == name)
    assert key == "acme.opened"
    assert properties.type == body["type"] == "opened"
    assert properties.content_type == "application/json"
    assert properties.app_id == "streamwatch"
    assert properties.delivery_mode == 2
    assert properties.headers == {"contract": 1, "account": name}
    assert uuid.UUID(properties.message_id).version == 5
    assert properties.reply_to is None


def test_events_of_another_tenant_are_not_delivered(
    site: Site, client: StreamwatchClient, follower: Follower, account: str
) -> None:
    with site.client(tenant="other") as other:
        other.init(account)
    own = client.init(account)["stream"]
    events = follower.wait_for(account, 1)
    assert [event["stream"] for event in events] == [own]


def test_no_reply_is_sent_to_our_exchanges(
    site: Site, client: StreamwatchClient, follower: Follower, account: str
) -> None:
    name = f"{site.namespace}streamwatch.lifecycle"
    client.publish("status", {"account": account}, reply_to=name)
    assert client.status(account).type == "activity"
    follower.take()
    assert all(properties.type != "activity" for _, properties, _ in follower.heard)


def test_the_next_leader_notifies_a_stopped_device(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    """Last in this file: it ends the leader."""
    stream = client.init(account)["stream"]
    client.stop(account, stream)

    def told() -> bool:
        client.heartbeat(account, stream)
        return client.bad_news(timeout=0.3) is not None

    eventually(told, "the device is notified", within=30)
    holder = next(
        worker
        for worker in site.workers
        if 'streamwatch_leader{partition="00"} 1' in worker.metrics()
    )
    holder.end(signal.SIGKILL)
    site.workers.remove(holder)
    eventually(told, "the next leader notifies the device", within=30)
