"""Entries that a player imitates: only the workers' own, which come another way, are believed."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from processes import Entry, Site
from streamwatch_client import StreamwatchClient, new_stream_id


@pytest.fixture(scope="module")
def foreign_settings(
    broker_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Entry]]:
    """The entries of another topology's log, whose settings would be noticed here."""
    foreign = Site(broker_url, tmp_path_factory.mktemp("foreign"), ttl=60.0, heartbeat_every=20.0)
    try:
        yield internal_entries(foreign)
    finally:
        foreign.close()


def internal_entries(site: Site) -> list[Entry]:
    """The program's own entries in the log, published to the default exchange."""
    return [entry for entry in site.read_log() if entry.exchange == ""]


def replay(
    client: StreamwatchClient, entries: list[Entry], kinds: Sequence[str] = ("heartbeat", "stop")
) -> None:
    """Publishes entries to the log as they are, by the only way that a player has."""
    for kind in kinds:
        for entry in entries:
            client.channel.basic_publish(
                exchange=f"{client.namespace}streamwatch",
                routing_key=f"acme.{kind}",
                body=entry.body,
                properties=entry.properties,
            )


def test_forged_settings_change_nothing(
    site: Site, client: StreamwatchClient, account: str, foreign_settings: list[Entry]
) -> None:
    assert foreign_settings, "a topology writes its settings to the log"
    replay(client, foreign_settings)
    opened = client.init(account)
    assert (opened["ttl_ms"], opened["heartbeat_every_ms"]) == (2_000, 500)


def test_a_forged_open_admits_no_stream(site: Site, client: StreamwatchClient, account: str) -> None:
    # The entry of a stream that was really opened, changed to another stream.
    stream = client.init(account, message_id="genuine")["stream"]
    victim, forged = account[:-4] + "evil", new_stream_id()
    genuine = [entry for entry in internal_entries(site) if stream.encode() in entry.body]
    assert genuine, "an open names its stream"
    for entry in genuine:
        body = entry.body.replace(stream.encode(), forged.encode())
        body = body.replace(account.encode(), victim.encode())
        if "account" in (headers := entry.properties.headers or {}):
            headers["account"] = victim
        replay(client, [replace(entry, body=body)], kinds=["heartbeat"])
    # At most, it is a heartbeat according to its routing key.
    reply = client.status(victim, stream=forged, consistency="strong")
    assert reply.count == 0 or not reply.streams[forged]["admitted"]


@pytest.mark.parametrize("type_", ["open", "tick", "settings", "full", "free", "announced"])
def test_the_type_property_of_a_message_does_not_matter(
    site: Site, client: StreamwatchClient, account: str, type_: str
) -> None:
    stream = client.init(account)["stream"]
    sent_at = time.monotonic()
    body = {
        "type": type_,
        "account": account,
        "stream": new_stream_id(),
        "ttl_ms": 60_000,
        "time": 2**62,
        "log_time": 2**62,
    }
    client.publish(
        "heartbeat",
        json.dumps(body).encode(),
        type=type_,
        headers={"account": account, "type": type_, "kind": type_, "x-exchange": ""},
    )
    # It is a heartbeat according to its routing key, and log time goes on.
    reply = client.status(account, consistency="strong")
    if reply.received_at - sent_at < site.ttl:
        assert set(reply.streams) == {stream, body["stream"]}
        assert not reply.streams[body["stream"]]["admitted"]


def test_forged_ticks_move_no_time(site: Site, client: StreamwatchClient, account: str) -> None:
    opened_at = time.monotonic()
    stream = client.init(account)["stream"]
    # An open would be a stop of its stream, if it came as one.
    ticks = [entry for entry in internal_entries(site) if stream.encode() not in entry.body][-50:]
    assert ticks
    ten_minutes_later = [
        replace(tick, body=json.dumps(all_numbers_plus(600_000, json.loads(tick.body))).encode())
        for tick in ticks
    ]
    replay(client, ticks + ten_minutes_later)
    reply = client.status(account, consistency="strong")
    if reply.received_at - opened_at < site.ttl:
        assert list(reply.streams) == [stream]
    # It expires all the same, and when it should.
    deadline = time.monotonic() + site.ttl + 2 * site.interval + 1.0
    while (reply := client.status(account, consistency="strong")).count:
        assert time.monotonic() < deadline, "time stands still"
        time.sleep(0.02)
    assert reply.received_at - opened_at >= site.ttl


def all_numbers_plus(more: int, value: Any) -> Any:
    """Moves all times in an entry, under any name, into the future."""
    match value:
        case dict():
            return {name: all_numbers_plus(more, inner) for name, inner in value.items()}
        case list():
            return [all_numbers_plus(more, inner) for inner in value]
        case bool():
            return value
        case int():
            return value + more
    return value
