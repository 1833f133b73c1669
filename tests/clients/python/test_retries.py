"""A request that is repeated, because its answer was late or lost, changes nothing."""

import time
import uuid

from processes import Site
from streamwatch_client import StreamwatchClient, new_stream_id

SITE = {"ttl": 20.0, "heartbeat_every": 5.0}


def test_an_init_repeated_with_the_same_stream_id_counts_once(
    client: StreamwatchClient, account: str
) -> None:
    stream = new_stream_id()
    first = client.init(account, stream, metadata={"device": "tv"})
    time.sleep(0.1)  # for a start time that would differ
    again = client.init(account, stream, metadata={"device": "tv"})
    assert (again.type, again["stream"], again.count) == ("opened", stream, 1)
    started_at = {reply.streams[stream]["started_at"] for reply in (first, again)}
    assert len(started_at) == 1
    assert again.streams[stream]["last_seen"] >= first.streams[stream]["last_seen"]


def test_a_retry_over_another_connection_counts_once(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    first = client.init(account, message_id="over-two-connections")
    with site.client() as after_reconnect:
        again = after_reconnect.init(account, message_id="over-two-connections")
    assert (again["stream"], again.count) == (first["stream"], 1)


def test_the_same_message_id_means_the_same_stream(
    client: StreamwatchClient, account: str, other_account: str
) -> None:
    message_id = str(uuid.uuid4())
    opened = [client.init(account, message_id=message_id) for _ in range(3)]
    assert {reply["stream"] for reply in opened} == {opened[0]["stream"]}
    assert [reply.count for reply in opened] == [1, 1, 1]
    assert uuid.UUID(opened[0]["stream"]).version == 5
    elsewhere = client.init(other_account, message_id=message_id)
    assert elsewhere["stream"] != opened[0]["stream"], "another account is another stream"


def test_without_a_message_id_the_correlation_id_means_the_same_stream(
    client: StreamwatchClient, account: str
) -> None:
    body = {"account": account}
    opened = [client.request("init", body, correlation_id="a-retry") for _ in range(2)]
    assert opened[0]["stream"] == opened[1]["stream"]
    assert opened[1].count == 1
    another = client.request("init", body, correlation_id="another")
    assert another.count == 2


def test_requests_without_an_id_open_different_streams(
    client: StreamwatchClient, account: str
) -> None:
    body = {"account": account}
    opened = [client.request("init", body, correlation_id=None) for _ in range(2)]
    assert [reply.count for reply in opened] == [1, 2]


def test_a_stream_id_in_other_letters_is_the_same_stream(
    client: StreamwatchClient, account: str
) -> None:
    stream = new_stream_id()
    opened = client.init(account, stream.upper())
    assert opened["stream"] == stream, "the answer has the usual form"
    assert client.init(account, stream).count == 1
    client.stop(account, stream.upper())
    assert client.status(account, consistency="strong").count == 0


def test_a_stop_repeated_changes_nothing(client: StreamwatchClient, account: str) -> None:
    stays, goes = client.init(account)["stream"], client.init(account)["stream"]
    for _ in range(3):
        client.stop(account, goes)
    assert list(client.status(account, consistency="strong").streams) == [stays]


def test_a_repeated_replace_ends_no_later_stream(
    client: StreamwatchClient, account: str
) -> None:
    old, new = client.init(account)["stream"], new_stream_id()
    request = {"max_active": 1, "replace": [old], "message_id": "replace-once"}
    assert client.init(account, new, **request).type == "opened"
    later = client.init(account)["stream"]
    again = client.init(account, new, **request)
    assert again.type == "opened"
    assert set(again.streams) == {new, later}
