"""Messages of the intake that RabbitMQ cannot deliver to an AMQP 0.9.1 consumer, or that the worker's
AMQP library cannot decode."""

from __future__ import annotations

import uuid

import amqp10
import pytest

from processes import Site, eventually
from streamwatch_client import StreamwatchClient, new_stream_id
from test_unreadable import UNDECODABLE, publish

SITE = {"ttl": 120.0, "heartbeat_every": 40.0, "partitions": 2}

PLAYERS = 40
UNDELIVERABLE = 10


def test_an_undecodable_message_is_dropped_and_others_count(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    for n in range(PLAYERS):
        body = {"account": f"{account}-{n}", "stream": new_stream_id()}
        client.publish("heartbeat", body, want_reply=False, headers={})
        if n == PLAYERS // 2:
            publish(site, client, "heartbeat", account, UNDECODABLE["not UTF-8"])

    def playing() -> float:
        return sum(site.metric("streamwatch_active_streams").values())

    # Two workers have all of them.
    eventually(lambda: playing() == 2 * PLAYERS, "all of them count", within=90)
    site.assert_workers_run()


def test_undeliverable_heartbeats_are_dropped_and_the_next_one_counts(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    exchange = f"{site.namespace}streamwatch"
    try:
        hostile = amqp10.Publisher(site.url, exchange, "acme.heartbeat")
    except amqp10.NotSpoken:
        pytest.skip("this RabbitMQ does not support AMQP 1.0")
    with hostile:
        for _ in range(UNDELIVERABLE):
            body = b'{"account":"hostile","stream":"%s"}' % new_stream_id().encode()
            hostile.publish(body, {"x-opt-id": amqp10.uuid(uuid.uuid4().bytes)}, {})
    body = {"account": account, "stream": new_stream_id()}
    client.publish("heartbeat", body, want_reply=False, headers={})
    eventually(lambda: client.status(account).count == 1, "it counts", within=60)
    site.assert_workers_run()
