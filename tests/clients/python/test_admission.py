"""Admission: `max_active` and `replace`, decided in one step with the opening."""

import time

from streamwatch_client import StreamwatchClient, new_stream_id

SITE = {"ttl": 20.0, "heartbeat_every": 5.0}


def active(client: StreamwatchClient, account: str) -> set[str]:
    return set(client.status(account, consistency="strong").streams)


def test_max_active_opens_exactly_that_many_streams(client: StreamwatchClient, account: str) -> None:
    opened = [client.init(account, max_active=3) for _ in range(3)]
    assert [reply.type for reply in opened] == ["opened"] * 3
    assert [reply.count for reply in opened] == [1, 2, 3]
    refused = client.init(account, max_active=3)
    assert refused.type == "refused"
    assert (refused["reason"], refused["max_active"], refused.count) == ("max_active", 3, 3)
    assert set(refused.streams) == {reply["stream"] for reply in opened}
    assert refused.streams.keys() == active(client, account), "the refused one does not count"


def test_a_stop_makes_room(client: StreamwatchClient, account: str) -> None:
    first = client.init(account, max_active=1)["stream"]
    assert client.init(account, max_active=1).type == "refused"
    client.stop(account, first)
    assert client.init(account, max_active=1).type == "opened"


def test_without_max_active_no_stream_is_refused(client: StreamwatchClient, account: str) -> None:
    assert [client.init(account).count for _ in range(5)] == [1, 2, 3, 4, 5]


def test_the_streams_of_other_accounts_take_no_place(
    client: StreamwatchClient, account: str, other_account: str
) -> None:
    client.init(other_account, max_active=1)
    assert client.init(account, max_active=1).type == "opened"


def test_replace_takes_the_place_of_the_streams_it_names(
    client: StreamwatchClient, account: str
) -> None:
    old, stays = client.init(account)["stream"], client.init(account)["stream"]
    opened = client.init(account, max_active=2, replace=[old])
    assert opened.type == "opened"
    assert opened.count == 2
    assert active(client, account) == {stays, opened["stream"]}
    state = client.status(account, stream=old, consistency="strong")["state"]
    assert state == "stopped"


def test_replace_may_name_sixteen_streams_and_unknown_ones(
    client: StreamwatchClient, account: str
) -> None:
    old = [client.init(account)["stream"] for _ in range(3)]
    replace = old + [new_stream_id() for _ in range(13)]
    opened = client.init(account, max_active=1, replace=replace)
    assert opened.type == "opened"
    assert active(client, account) == {opened["stream"]}


def test_a_refusal_replaces_nothing(client: StreamwatchClient, account: str) -> None:
    playing = [client.init(account)["stream"] for _ in range(3)]
    # With the one of them gone it would still be the third.
    refused = client.init(account, max_active=2, replace=playing[:1])
    assert refused.type == "refused"
    assert refused.count == 3
    assert active(client, account) == set(playing)


def test_an_early_heartbeat_does_not_bypass_max_active(
    client: StreamwatchClient, account: str
) -> None:
    admitted, sneaking = client.init(account)["stream"], new_stream_id()
    client.heartbeat(account, sneaking)

    refused = client.init(account, sneaking, max_active=1)
    assert (refused.type, refused["reason"]) == ("refused", "max_active")

    # It plays all the same, and the reply shows that it was not admitted.
    reply = client.status(account, consistency="strong")
    assert {id_: record["admitted"] for id_, record in reply.streams.items()} == {
        admitted: True,
        sneaking: False,
    }


def test_a_stream_begun_by_a_heartbeat_is_decided_against_the_others(
    client: StreamwatchClient, account: str
) -> None:
    client.init(account)
    stream = new_stream_id()
    client.heartbeat(account, stream)
    # Two play, and it is one of the two.
    opened = client.init(account, stream, max_active=2)
    assert opened.type == "opened"
    assert opened.count == 2
    assert opened.streams[stream]["admitted"] is True


def test_an_admitted_stream_is_not_refused_by_its_own_retry(
    client: StreamwatchClient, account: str
) -> None:
    stream = client.init(account, max_active=1)["stream"]
    again = client.init(account, stream, max_active=1)
    assert again.type == "opened"
    assert again.count == 1


def test_a_stop_that_overtakes_its_init_wins(client: StreamwatchClient, account: str) -> None:
    stream = new_stream_id()
    client.stop(account, stream)
    refused = client.init(account, stream)
    assert (refused.type, refused["reason"], refused.count) == ("refused", "stopped", 0)
    client.heartbeat(account, stream, want_bad_news=False)
    assert active(client, account) == set()


def test_a_stopped_stream_is_not_opened_again(client: StreamwatchClient, account: str) -> None:
    stream = client.init(account)["stream"]
    client.stop(account, stream)
    refused = client.init(account, stream)
    assert (refused.type, refused["reason"]) == ("refused", "stopped")


def test_a_replaced_stream_is_not_opened_again(client: StreamwatchClient, account: str) -> None:
    old = client.init(account)["stream"]
    client.init(account, replace=[old])
    refused = client.init(account, old)
    assert (refused.type, refused["reason"], refused.count) == ("refused", "stopped", 1)


def test_a_new_request_after_a_refusal_is_decided_anew(
    client: StreamwatchClient, account: str
) -> None:
    playing, stream = client.init(account)["stream"], new_stream_id()
    assert client.init(account, stream, max_active=1).type == "refused"
    client.stop(account, playing)
    # A new request, for the same stream: each try of a person is one.
    assert client.init(account, stream, max_active=1).type == "opened"


def test_the_same_request_gets_the_same_refusal(client: StreamwatchClient, account: str) -> None:
    playing, stream = client.init(account)["stream"], new_stream_id()
    request = {"max_active": 1, "message_id": "the-one-request"}
    assert client.init(account, stream, **request).type == "refused"
    client.stop(account, playing)
    time.sleep(0.5)
    # The first answer may be on its way yet: a repetition must not contradict it.
    again = client.init(account, stream, **request)
    assert (again.type, again["reason"], again["max_active"]) == ("refused", "max_active", 1)
    assert active(client, account) == set()


def test_without_a_message_id_the_correlation_id_names_the_request(
    client: StreamwatchClient, account: str
) -> None:
    playing = client.init(account)["stream"]
    body = {"account": account, "stream": new_stream_id(), "max_active": 1}
    assert client.request("init", body, correlation_id="first").type == "refused"
    client.stop(account, playing)
    assert client.request("init", body, correlation_id="first").type == "refused"
    assert client.request("init", body, correlation_id="second").type == "opened"
