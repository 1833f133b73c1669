"""Requests that RabbitMQ cannot deliver to an AMQP 0.9.1 consumer: each closes the connection that
consumes its queue, and the other requests of that queue are answered."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import amqp10
import pytest

from processes import Site, eventually
from streamwatch_client import NoAnswer, StreamwatchClient, new_stream_id

SITE = {"ttl": 60.0, "heartbeat_every": 20.0}


@pytest.fixture(params=["status", "init"])
def hostile(request: pytest.FixtureRequest, site: Site) -> Iterator[amqp10.Publisher]:
    exchange = f"{site.namespace}streamwatch"
    try:
        publisher = amqp10.Publisher(site.url, exchange, f"acme.{request.param}")
    except amqp10.NotSpoken:
        pytest.skip("this RabbitMQ does not support AMQP 1.0")
    with publisher:
        yield publisher


def publish(hostile: amqp10.Publisher) -> None:
    body = b'{"account":"hostile","stream":"%s"}' % new_stream_id().encode()
    guid = {"x-opt-id": amqp10.uuid(uuid.uuid4().bytes)}
    hostile.publish(body, guid, {"account": amqp10.string("hostile")})


def interrupted(site: Site) -> float:
    return sum(site.metric("streamwatch_requests_interrupted_total").values())


def reconnects(site: Site) -> float:
    return sum(site.metric("streamwatch_reconnects_total").values())


def is_answered(client: StreamwatchClient, account: str) -> bool:
    """Both kinds of requests: the sender waits, and tries again later."""
    try:
        client.timeout = 5.0
        client.status(account)
        return client.init(account).type == "opened"
    except NoAnswer:
        return False


def test_an_undeliverable_request_is_dropped_and_others_are_answered(
    site: Site, client: StreamwatchClient, account: str, hostile: amqp10.Publisher
) -> None:
    sessions, closed = reconnects(site), interrupted(site)
    publish(hostile)
    # No second try: a sender waits for 10 s.
    client.timeout = 10.0
    client.status(account)
    assert client.init(account).type == "opened"
    eventually(lambda: interrupted(site) > closed, "it closed a connection")
    assert reconnects(site) == sessions


def test_a_thousand_undeliverable_requests_do_not_stop_others(
    site: Site, client: StreamwatchClient, account: str, hostile: amqp10.Publisher
) -> None:
    sessions = reconnects(site)
    for _ in range(1_000):
        publish(hostile)
    eventually(lambda: is_answered(client, account), "requests are answered", within=60)
    assert reconnects(site) == sessions


def test_requests_are_answered_during_ten_undeliverable_ones_a_second(
    site: Site, client: StreamwatchClient, account: str, hostile: amqp10.Publisher
) -> None:
    sessions = reconnects(site)
    answered = 0
    started = time.monotonic()
    for n in range(50):
        publish(hostile)
        answered += is_answered(client, account)
        time.sleep(max(0.0, started + n / 10 - time.monotonic()))
    # If connections open slowly, a request behind several of them is dropped with them.
    assert answered >= 25
    assert reconnects(site) == sessions
