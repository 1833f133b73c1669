"""The topology's own bound on an account's streams, whatever its clients ask for."""

from streamwatch_client import StreamwatchClient, new_stream_id

SITE = {"ttl": 20.0, "heartbeat_every": 5.0, "max_streams_per_account": 3}


def test_an_account_holds_as_many_streams_as_the_topology_allows(
    client: StreamwatchClient, account: str
) -> None:
    opened = [client.init(account) for _ in range(3)]
    assert [reply.count for reply in opened] == [1, 2, 3]

    refused = client.init(account, max_active=10)
    assert (refused.type, refused["reason"], refused.count) == ("refused", "account_cap", 3)

    # Active streams go on.
    again = client.init(account, opened[0]["stream"])
    assert (again.type, again.count) == ("opened", 3)


def test_a_heartbeat_cannot_begin_a_stream_beyond_the_cap(
    client: StreamwatchClient, account: str
) -> None:
    streams = [new_stream_id() for _ in range(3)]
    for stream in streams:
        client.heartbeat(account, stream)
    client.heartbeat(account, new_stream_id())
    for stream in streams:
        client.heartbeat(account, stream, metadata={"device": "tv"})
    reply = client.status(account, consistency="strong", group_by=["device"])
    assert set(reply.streams) == set(streams)
    assert reply.activity["by"] == {"device": {"tv": 3}}


def test_max_active_is_checked_before_the_cap(client: StreamwatchClient, account: str) -> None:
    for _ in range(3):
        client.init(account)
    refused = client.init(account, max_active=3)
    assert (refused.type, refused["reason"]) == ("refused", "max_active")


def test_a_replace_makes_room_below_the_cap(client: StreamwatchClient, account: str) -> None:
    old = [client.init(account)["stream"] for _ in range(3)]
    opened = client.init(account, replace=old[:1])
    assert (opened.type, opened.count) == ("opened", 3)


def test_a_stop_makes_room_below_the_cap(client: StreamwatchClient, account: str) -> None:
    streams = [client.init(account)["stream"] for _ in range(3)]
    assert client.init(account).type == "refused"
    client.stop(account, streams[0])
    assert client.init(account).type == "opened"
