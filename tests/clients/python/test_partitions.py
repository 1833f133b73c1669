"""Several partitions: messages with the header `account`, and through the intake those without."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from processes import Site, eventually
from streamwatch_client import DIRECT_REPLY_TO, Reply, StreamwatchClient, new_stream_id

SITE = {"ttl": 60.0, "heartbeat_every": 20.0, "partitions": 4}

KINDS = ["init", "heartbeat", "stop", "status"]

# Properties of a message without the header.
WITHOUT: dict[str, Any] = {"headers": {}}


def ways() -> list[Any]:
    return [
        pytest.param(header, reply, id=f"{'with' if header else 'without'} header, {reply} reply")
        for header in (True, False)
        for reply in ("direct", "queue")
    ]


def options_of(client: StreamwatchClient, header: bool, reply: str) -> dict[str, Any]:
    """AMQP properties of a client with or without the header."""
    options: dict[str, Any] = {} if header else dict(WITHOUT)
    options["reply_to"] = DIRECT_REPLY_TO
    if reply == "queue":
        queue = client.channel.queue_declare("", exclusive=True).method.queue
        client.channel.basic_consume(queue, client._on_reply, auto_ack=True)
        options["reply_to"] = queue
    return options


def count(client: StreamwatchClient, account: str) -> int:
    return client.status(account, consistency="strong").count


def forwarded(site: Site) -> float:
    return site.metric("streamwatch_intake_total").get('outcome="forwarded"', 0)


def test_accounts_are_spread_over_all_partitions(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    names = [f"{account}-{n}" for n in range(60)]
    for name in names:
        client.heartbeat(name, new_stream_id(), want_bad_news=False)
    assert [count(client, name) for name in names] == [1] * 60
    partitions = {f'partition="{number:02}"' for number in range(4)}

    def playing() -> set[str]:
        return {p for p, n in site.metric("streamwatch_active_streams").items() if n > 0}

    eventually(lambda: playing() == partitions, "each partition has some of sixty accounts")


@pytest.mark.parametrize(("header", "reply"), ways())
def test_a_session_counts_with_and_without_the_header(
    site: Site, client: StreamwatchClient, account: str, header: bool, reply: str
) -> None:
    options = options_of(client, header, reply)
    before = forwarded(site)
    for n in range(8):  # so that all partitions take part
        body = {"account": f"{account}-{n}", "stream": new_stream_id()}
        opened = client.request("init", body | {"max_active": 1}, **options)
        assert (opened.type, opened.count) == ("opened", 1)
        assert opened["stream"] == body["stream"]
        again = client.request("init", body | {"stream": new_stream_id(), "max_active": 1}, **options)
        assert (again.type, again["reason"]) == ("refused", "max_active")
        client.publish("heartbeat", body | {"metadata": {"device": "tv"}}, **options)
        asked = {"account": body["account"], "consistency": "strong"}

        def devices() -> list[str | None]:
            reply = client.request("status", asked, **options)
            return [record["metadata"].get("device") for record in reply.streams.values()]

        # Through the intake, the confirm means "stored", not yet "counted".
        eventually(lambda: devices() == ["tv"], "the heartbeat is applied")
        client.publish("stop", body, **options)
        eventually(lambda: devices() == [], "the stop is applied")
    if header:
        assert forwarded(site) == before, "nothing of it goes through the intake"
    else:
        eventually(lambda: forwarded(site) >= before + 5 * 8, "all of it goes through the intake")


@pytest.mark.parametrize("header", [True, False])
def test_a_stopped_device_is_notified(
    site: Site, client: StreamwatchClient, account: str, header: bool
) -> None:
    site.wait_for_leader()
    options = {} if header else WITHOUT
    stream = client.init(account)["stream"]
    client.stop(account, stream)
    body = {"account": account, "stream": stream}
    told = client.request("heartbeat", body, **options)
    assert (told.type, told["reason"]) == ("stopped", "stopped")


def test_a_retry_is_deduplicated_with_and_without_the_header(
    client: StreamwatchClient, account: str
) -> None:
    body = {"account": account}
    first = client.request("init", body, message_id="one", **WITHOUT)
    again = client.request("init", body, message_id="one", **WITHOUT)
    direct = client.request("init", body, message_id="one")
    assert first["stream"] == again["stream"] == direct["stream"]
    # Without a message_id by where its reply goes and its correlation_id.
    first = client.request("init", body, correlation_id="two", **WITHOUT)
    direct = client.request("init", body, correlation_id="two")
    assert first["stream"] == direct["stream"]
    assert count(client, account) == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("header", ["bob", "", 7, True, None, ["alice"], {"alice": 1}])
def test_a_header_that_disagrees_with_its_body_is_refused(
    site: Site, client: StreamwatchClient, account: str, kind: str, header: Any
) -> None:
    site.wait_for_leader()
    body = {"account": account, "stream": new_stream_id()}
    before = site.bad_input()["account_mismatch"]
    refused = client.request(kind, body, headers={"account": header})
    assert refused.type == "error"
    assert refused["error"]["code"] == "account_mismatch"
    counted = lambda: site.bad_input()["account_mismatch"] > before  # noqa: E731
    eventually(counted, "it is counted")
    assert count(client, account) == 0


UNUSABLE = {
    "no JSON": (b"{", "bad_json"),
    "no account": (b"{}", "missing_field"),
    "a number": (b'{"account": 7}', "bad_field"),
    "too long": (b'{"account": "%s"}' % (b"x" * 129), "bad_field"),
    "too large": (b'{"account": "alice", "x": "%s"}' % (b"x" * 16 * 1024), "too_large"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", UNUSABLE)
def test_a_body_without_a_usable_account_is_refused_by_the_intake(
    site: Site, client: StreamwatchClient, kind: str, name: str
) -> None:
    body, code = UNUSABLE[name]
    labels = f'source="intake",reason="{code}"'
    before = site.metric("streamwatch_bad_input_total").get(labels, 0)
    refused = client.request(kind, body)
    assert (refused.type, refused["error"]["code"]) == ("error", code)
    assert site.metric("streamwatch_bad_input_total")[labels] == before + 1


@pytest.mark.parametrize("headers", [{}, {"account": "alice"}])
def test_an_undefined_kind_is_unknown(
    client: StreamwatchClient, headers: dict[str, str]
) -> None:
    refused = client.request("play", {"account": "alice"}, headers=headers)
    assert (refused.type, refused["error"]["code"]) == ("error", "unknown_kind")


def test_properties_that_must_not_be_repeated_are_survived(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    user = client.connection._impl.params.credentials.username
    options = {
        "user_id": user,
        "expiration": "5000",
        "priority": 9,
        "type": "tick",
        "headers": {"CC": ["acme.stop"], "BCC": ["acme.status"], "x-death": 1},
    }
    body = {"account": account, "stream": new_stream_id()}
    assert client.request("init", body, **options).type == "opened"
    assert client.request("status", body, **options).count == 1
    site.assert_workers_run()
    report = site.workers[0]._get("/readyz")
    assert report[0] == 200, report


def test_a_forbidden_reply_to_is_survived(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    queues = ["p00.log", "p01.init", "intake.requests", "intake.events", "unrouted"]
    ours = [f"{site.namespace}streamwatch.{queue}" for queue in queues]
    for reply_to in [*ours, "amq.rabbitmq.reply-to.forged", "nobody", "q" * 255]:
        for kind in KINDS:
            body = {"account": account, "stream": new_stream_id()}
            client.publish(kind, body, reply_to=reply_to, **WITHOUT)
            client.publish(kind, b"{", reply_to=reply_to)
    opened = client.request("init", {"account": f"{account}-next"}, **WITHOUT)
    assert (opened.type, opened.count) == ("opened", 1)
    # Heartbeats count whatever they ask for; the requests among these were refused.
    assert count(client, account) in range(len(ours), 2 * len(ours) + 8)


@pytest.mark.parametrize("round_", range(3))
def test_of_simultaneous_inits_through_the_intake_exactly_max_active_are_opened(
    site: Site, client: StreamwatchClient, account: str, round_: int
) -> None:
    how_many = 24
    with ExitStack() as stack:
        devices = [stack.enter_context(site.client()) for _ in range(how_many)]
        together = threading.Barrier(how_many)

        def init(n: int) -> Reply:
            together.wait(timeout=30)
            body = {"account": account, "stream": new_stream_id(), "max_active": 5}
            # With and without the header, all for one account.
            options = WITHOUT if n % 4 else {}
            return devices[n].request("init", body, **options)

        with ThreadPoolExecutor(how_many) as pool:
            replies = list(pool.map(init, range(how_many)))
    assert Counter(reply.type for reply in replies) == {"opened": 5, "refused": how_many - 5}
    opened = [reply for reply in replies if reply.type == "opened"]
    assert sorted(reply.count for reply in opened) == [1, 2, 3, 4, 5]
    after = client.status(account, consistency="strong")
    assert set(after.streams) == {reply["stream"] for reply in opened}
