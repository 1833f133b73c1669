"""Asking: what plays, by what, and how fresh the answer is."""

from processes import Site, eventually
from streamwatch_client import StreamwatchClient, new_stream_id

SITE = {"ttl": 20.0, "heartbeat_every": 5.0}


def test_an_unknown_account_has_an_empty_activity(client: StreamwatchClient, account: str) -> None:
    for consistency in [None, "local", "strong"]:
        reply = client.status(account, consistency=consistency)
        assert reply.type == "activity"
        assert (reply.count, reply.activity["streams"]) == (0, [])
        assert reply.activity["account"] == account


def test_a_status_starts_no_stream(client: StreamwatchClient, account: str) -> None:
    stream = new_stream_id()
    for _ in range(2):
        reply = client.status(account, stream=stream, consistency="strong")
        assert (reply.count, reply["state"]) == (0, "unknown")


def test_group_by_counts_by_metadata(client: StreamwatchClient, account: str) -> None:
    for device, channel in [("tv", "one"), ("phone", "one"), ("phone", "two")]:
        client.init(account, metadata={"device": device, "channel": channel})
    reply = client.status(account, group_by=["device", "channel"], consistency="strong")
    assert reply.activity["by"] == {
        "device": {"tv": 1, "phone": 2},
        "channel": {"one": 2, "two": 1},
    }
    reply = client.status(account, group_by=["device"], consistency="strong")
    assert reply.activity["by"] == {"device": {"tv": 1, "phone": 2}}


def test_a_key_that_is_asked_for_twice_is_answered_once(
    client: StreamwatchClient, account: str
) -> None:
    client.init(account, metadata={"device": "tv"})
    reply = client.status(account, group_by=["device", "device"], consistency="strong")
    # The client refuses a reply that repeats a name.
    assert reply.activity["by"] == {"device": {"tv": 1}}


def test_group_by_counts_only_what_is_active(client: StreamwatchClient, account: str) -> None:
    tv = client.init(account, metadata={"device": "tv"})["stream"]
    client.init(account, metadata={"device": "phone"})
    client.stop(account, tv)
    reply = client.status(account, group_by=["device"], consistency="strong")
    assert reply.activity["by"] == {"device": {"phone": 1}}


def test_a_stream_that_is_asked_for_has_a_state_beside_the_activity(
    client: StreamwatchClient, account: str
) -> None:
    plays, stopped = client.init(account)["stream"], client.init(account)["stream"]
    client.stop(account, stopped)
    states = {plays: "active", stopped: "stopped", new_stream_id(): "unknown"}
    for stream, state in states.items():
        reply = client.status(account, stream=stream, consistency="strong")
        assert reply["state"] == state
        assert list(reply.streams) == [plays], "the activity is the whole account's"
    assert "state" not in client.status(account).body


def test_a_stream_is_known_to_its_own_account_alone(
    client: StreamwatchClient, account: str, other_account: str
) -> None:
    stream = client.init(account)["stream"]
    reply = client.status(other_account, stream=stream, consistency="strong")
    assert (reply.count, reply["state"]) == (0, "unknown")


def test_a_strong_answer_counts_what_was_confirmed_before_on_any_connection(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    with site.client() as player:
        for count in range(1, 21):
            player.heartbeat(account, new_stream_id())
            assert client.status(account, consistency="strong").count == count


def test_local_answers_are_soon_right(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    client.init(account)

    # Of two workers each answers some of them.
    def all_count_it() -> bool:
        return all(client.status(account).count == 1 for _ in range(20))

    eventually(all_count_it, "every answer counts the stream", within=3 * site.interval + 5)


def test_many_questions_in_flight_are_all_answered(client: StreamwatchClient, account: str) -> None:
    client.init(account)
    asked = [
        client.publish("status", {"account": account, "consistency": consistency})
        for _ in range(100)
        for consistency in ("local", "strong")
    ]
    replies = [client.wait_for(correlation_id) for correlation_id in asked]
    assert {reply.type for reply in replies} == {"activity"}
    assert client.inbox == [], "each is answered once"
