"""Messages of the intake that the worker's AMQP library cannot decode."""

from __future__ import annotations

from processes import Site, eventually
from streamwatch_client import StreamwatchClient, new_stream_id
from test_unreadable import UNDECODABLE, publish

SITE = {"ttl": 120.0, "heartbeat_every": 40.0, "partitions": 2}

PLAYERS = 40


def test_one_that_cannot_be_read_is_dropped_and_those_around_it_count(
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
