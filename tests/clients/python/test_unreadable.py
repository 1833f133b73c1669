"""Messages that the worker's AMQP library cannot read: short strings that are not UTF-8, and headers
that fit into a frame of RabbitMQ's only until RabbitMQ adds to them."""

from __future__ import annotations

import pika
import pytest

from processes import Site, eventually
from streamwatch_client import NoAnswer, StreamwatchClient, new_stream_id


# Of the largest headers that RabbitMQ takes, 131,064 bytes with all other properties.
LARGEST = 131_020

UNREADABLE = {
    "not UTF-8": pika.BasicProperties(correlation_id=b"\xff\xfe"),
    "headers as large as a frame": pika.BasicProperties(headers={"x": "y" * LARGEST}),
}


def publish_unreadable(
    site: Site, client: StreamwatchClient, kind: str, account: str, how: str = "not UTF-8"
) -> None:
    client.channel.basic_publish(
        f"{site.namespace}streamwatch",
        f"acme.{kind}",
        b'{"account":"%s","stream":"%s"}' % (account.encode(), new_stream_id().encode()),
        UNREADABLE[how],
    )


def is_counted(client: StreamwatchClient, account: str, stream: str) -> bool:
    # Somebody shows life all the time: a log that never rests must not keep the workers looking.
    client.heartbeat(account, stream)
    try:
        client.timeout = 1.0
        return set(client.status(account, consistency="strong").streams) == {stream}
    except NoAnswer:
        return False


@pytest.mark.parametrize("how", UNREADABLE)
def test_entries_that_cannot_be_read_are_passed_over_and_those_around_them_count(
    site: Site, client: StreamwatchClient, account: str, how: str
) -> None:
    stopped, playing = new_stream_id(), new_stream_id()
    client.heartbeat(account, stopped)
    for _ in range(3):
        publish_unreadable(site, client, "heartbeat", account, how)
    client.stop(account, stopped)
    eventually(lambda: is_counted(client, account, playing), "the count is right", within=60)
    site.assert_workers_run()


@pytest.mark.parametrize("how", UNREADABLE)
def test_a_request_that_cannot_be_read_is_over_when_it_expires(
    site: Site, client: StreamwatchClient, account: str, how: str
) -> None:
    playing = new_stream_id()
    publish_unreadable(site, client, "status", account, how)
    eventually(lambda: is_counted(client, account, playing), "the count is right", within=60)
    site.assert_workers_run()
