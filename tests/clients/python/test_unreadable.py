"""Messages that RabbitMQ cannot deliver to an AMQP 0.9.1 consumer, and those that the worker's AMQP
library cannot decode: each is rejected alone."""

from __future__ import annotations

import time

import pika
import pytest

from processes import Site, eventually
from streamwatch_client import NoAnswer, StreamwatchClient, new_stream_id


# Of the largest headers that RabbitMQ takes, 131,064 bytes with all other properties.
LARGEST = 131_020


def nested(depth: int) -> dict:
    table: dict = {}
    for _ in range(depth):
        table = {"a": table}
    return table


UNDECODABLE = {
    "not UTF-8": pika.BasicProperties(correlation_id=b"\xff\xfe"),
    "headers as large as a frame": pika.BasicProperties(headers={"x": "y" * LARGEST}),
    "tables in tables": pika.BasicProperties(headers=nested(100)),
}
UNDELIVERABLE = pika.BasicProperties(headers={"x-basic-type": 5})


def publish(
    site: Site,
    client: StreamwatchClient,
    kind: str,
    account: str,
    properties: pika.BasicProperties,
) -> None:
    client.channel.basic_publish(
        f"{site.namespace}streamwatch",
        f"acme.{kind}",
        b'{"account":"%s","stream":"%s"}' % (account.encode(), new_stream_id().encode()),
        properties,
    )


def is_counted(client: StreamwatchClient, account: str, stream: str) -> bool:
    # A constant flow of heartbeats must not keep the workers searching.
    client.heartbeat(account, stream)
    try:
        client.timeout = 1.0
        return set(client.status(account, consistency="strong").streams) == {stream}
    except NoAnswer:
        return False


def reconnects(site: Site) -> float:
    return sum(site.metric("streamwatch_reconnects_total").values())


@pytest.mark.parametrize("how", UNDECODABLE)
def test_an_entry_that_cannot_be_decoded_is_rejected_alone(
    site: Site, client: StreamwatchClient, account: str, how: str
) -> None:
    before = reconnects(site)
    stopped, playing = new_stream_id(), new_stream_id()
    client.heartbeat(account, stopped)
    for _ in range(100):
        publish(site, client, "heartbeat", account, UNDECODABLE[how])
    client.stop(account, stopped)
    eventually(lambda: is_counted(client, account, playing), "the count is right", within=10)
    assert reconnects(site) == before
    site.assert_workers_run()


@pytest.mark.parametrize("how", UNDECODABLE)
def test_a_request_that_cannot_be_decoded_is_rejected_alone(
    site: Site, client: StreamwatchClient, account: str, how: str
) -> None:
    before = reconnects(site)
    playing = new_stream_id()
    for kind in ("status", "init"):
        for _ in range(20):
            publish(site, client, kind, account, UNDECODABLE[how])
    eventually(lambda: is_counted(client, account, playing), "the count is right", within=10)
    assert reconnects(site) == before
    site.assert_workers_run()


@pytest.mark.parametrize("in_a_row", [1, 100])
def test_undeliverable_entries_are_skipped_and_all_others_count(
    site: Site, client: StreamwatchClient, account: str, in_a_row: int
) -> None:
    before = reconnects(site)
    stopped, playing = new_stream_id(), new_stream_id()
    client.heartbeat(account, stopped)
    for _ in range(in_a_row):
        publish(site, client, "heartbeat", account, UNDELIVERABLE)
    client.stop(account, stopped)
    eventually(lambda: is_counted(client, account, playing), "the count is right", within=60)
    publish(site, client, "heartbeat", account, UNDELIVERABLE)
    time.sleep(0.1)
    eventually(lambda: is_counted(client, account, playing), "the next one, too", within=10)
    # No session ended, and operators read the log as well.
    assert reconnects(site) == before
    site.run("topology", "show")
    site.assert_workers_run()
