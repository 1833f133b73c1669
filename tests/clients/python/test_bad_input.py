"""Bad input gets an error reply if possible, and the next good request is served."""

import json
from typing import Any
from uuid import UUID

import pika
import pytest

from processes import Site, eventually
from streamwatch_client import Reply, StreamwatchClient, new_stream_id

SITE = {"ttl": 6.0, "heartbeat_every": 2.0}

KINDS = ["init", "heartbeat", "stop", "status"]
PLAYS = ["heartbeat", "stop"]

STREAM = "6a2f41a3-c54c-4ce8-92d9-5e7b8a3f6a10"
GOOD = {"account": "alice", "stream": STREAM}


def assert_is_error(reply: Reply, code: str, field: str | None = None) -> None:
    assert reply.type == "error", reply.body
    error = reply["error"]
    assert error["code"] == code, error
    assert isinstance(error["message"], str) and error["message"]
    if field is not None:
        assert error["field"] == field, error
    else:
        assert error.get("field") is None or isinstance(error["field"], str)
    # A retry of the same message would fail too.
    assert error["retryable"] is False
    assert error.get("retry_after_ms") is None
    assert reply.properties.type == "error"
    assert reply.properties.content_type == "application/json"
    assert reply.properties.app_id == "streamwatch"
    assert reply.properties.headers["contract"] == 1


def assert_the_next_good_request_is_served(client: StreamwatchClient, account: str) -> None:
    opened = client.init(account)
    assert (opened.type, opened.count) == ("opened", 1)
    assert client.status(account, consistency="strong").count == 1


def refuse(
    site: Site,
    client: StreamwatchClient,
    account: str,
    kind: str,
    body: Any,
    code: str,
    field: str | None = None,
    **options: Any,
) -> None:
    """Sends bad input, and checks its error and that others are still served."""
    if kind in PLAYS:
        # These go straight to the log, and the leader answers.
        site.wait_for_leader()
    assert_is_error(client.request(kind, body, **options), code, field)
    assert_the_next_good_request_is_served(client, account)
    assert client.inbox == [], "one error is enough"


def without(name: str, **fields: Any) -> dict[str, Any]:
    return {key: value for key, value in (GOOD | fields).items() if key != name}


def in_account(name: Any) -> bytes:
    """As bytes, so that no header `account` goes with it."""
    return json.dumps(GOOD | {"account": name}).encode()


NOT_JSON = {
    "no bytes": b"",
    "text": b"hello",
    "half of it": b'{"account": "alice", "stream"',
    "two of it": b'{"account": "alice"} {"account": "alice"}',
    "not UTF-8": b'{"account": "al\xff\xfeice", "stream": "%s"}' % STREAM.encode(),
    "half a surrogate": b'{"account": "al\\ud800ice", "stream": "%s"}' % STREAM.encode(),
    "zeros": bytes(100),
    "10,000 levels": b"[" * 10_000,
    "8,000 levels and back": b"[" * 8_000 + b"]" * 8_000,
    "3,000 objects in each other": b'{"a":' * 3_000,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NOT_JSON)
def test_a_body_that_is_not_json_is_bad_json(
    site: Site, client: StreamwatchClient, account: str, kind: str, name: str
) -> None:
    refuse(site, client, account, kind, NOT_JSON[name], "bad_json")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["null", "[]", '"alice"', "7"])
def test_json_that_is_no_object_is_bad_json(
    site: Site, client: StreamwatchClient, account: str, kind: str, text: str
) -> None:
    refuse(site, client, account, kind, text.encode(), "bad_json")


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_field_may_be_of_any_depth(
    site: Site, client: StreamwatchClient, account: str, kind: str
) -> None:
    """It may be ignored or rejected, as long as the workers go on."""
    body = b'{"account":"%s","stream":"%s","x":%s%s}'
    body %= (account.encode(), new_stream_id().encode(), b"[" * 8_000, b"]" * 8_000)
    client.publish(kind, body)
    assert client.status(account, consistency="strong").type == "activity"
    for reply in client.listen(2 * site.interval):
        assert reply.type in ("opened", "activity") or reply["error"]["code"] == "bad_json"
    site.assert_workers_run()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [16 * 1024 + 1, 8 * 1024 * 1024], ids=["a byte more", "8 MiB"])
def test_a_body_beyond_16_kib_is_too_large(
    site: Site, client: StreamwatchClient, account: str, kind: str, size: int
) -> None:
    body = padded(GOOD, size)
    refuse(site, client, account, kind, body, "too_large")


def test_a_body_of_16_kib_is_accepted(client: StreamwatchClient, account: str) -> None:
    body = padded({"account": account}, 16 * 1024)
    assert client.request("init", body).type == "opened"
    assert client.request("status", body).type == "activity"


def padded(fields: dict[str, Any], size: int) -> bytes:
    bare = json.dumps(fields | {"padding": ""}).encode()
    body = json.dumps(fields | {"padding": "x" * (size - len(bare))}).encode()
    assert len(body) == size
    return body


@pytest.mark.parametrize("kind", KINDS)
def test_an_account_must_be_given(
    site: Site, client: StreamwatchClient, account: str, kind: str
) -> None:
    refuse(site, client, account, kind, without("account"), "missing_field", "account")


@pytest.mark.parametrize("kind", PLAYS)
def test_a_heartbeat_and_a_stop_must_name_their_stream(
    site: Site, client: StreamwatchClient, account: str, kind: str
) -> None:
    refuse(site, client, account, kind, without("stream"), "missing_field", "stream")


BAD_ACCOUNTS = {
    "empty": "",
    "10 KB": "a" * 10_000,
    "129 bytes": "a" * 129,
    "130 bytes of 65 letters": "ä" * 65,
    "NUL": "ali\0ce",
    "a line": "ali\nce",
    "DEL": "ali\x7fce",
    "a control character beyond ASCII": "ali\x85ce",
    "a number": 7,
    "a list": ["alice"],
    "an object": {"name": "alice"},
    "true": True,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BAD_ACCOUNTS)
def test_an_account_must_be_a_short_name(
    site: Site, client: StreamwatchClient, account: str, kind: str, name: str
) -> None:
    refuse(site, client, account, kind, in_account(BAD_ACCOUNTS[name]), "bad_field", "account")


METADATA = {
    "a text": "tv",
    "a list": ["tv"],
    "a list in it": {"device": [7]},
    "an object in it": {"device": {"type": "tv"}},
    "17 keys": {f"key{n}": "v" for n in range(17)},
    "1,000 keys": {f"k{n}": "v" for n in range(1_000)},
    "a key of 65 bytes": {"k" * 65: "v"},
    "a value of 257 bytes": {"device": "v" * 257},
    "a value of 258 bytes in 129 letters": {"device": "ä" * 129},
}

BAD_FIELDS: list[tuple[str, str, Any]] = [
    *[("init", "metadata", METADATA[name]) for name in METADATA],
    *[
        (kind, "stream", stream)
        for kind in KINDS
        for stream in ("not-a-uuid", "", STREAM[:-1], STREAM + "0", 7, [STREAM])
    ],
    *[("init", "max_active", number) for number in (0, -1, 1.5, "3", True, [3])],
    ("init", "limits", {"max": 1}),
    ("init", "limits", [{"max": 1}] * 9),
    *[
        ("init", "limits", [limit])
        for limit in (
            {},
            [1],
            {"max": 0},
            {"max": 1, "distinct": ""},
            {"max": 1, "distinct": 7},
            {"max": 1, "were": {"kind": ["live"]}},
            {"max": 1, "where": {"kind": "live"}},
            {"max": 1, "where": {"kind": []}},
            {"max": 1, "where": {"kind": ["v"] * 17}},
            {"max": 1, "where": {"kind": [None]}},
            {"max": 1, "where": {f"key{n}": ["v"] for n in range(5)}},
        )
    ],
    ("init", "same", "device"),
    ("init", "same", [""]),
    ("init", "same", ["k"] * 5),
    ("init", "on_limit", "replace_youngest"),
    ("init", "reason", ""),
    ("init", "reason", "r" * 65),
    ("init", "reason", "a\nb"),
    ("stop", "all", True),  # beside a stream
    ("stop", "all", "yes"),
    ("init", "replace", STREAM),
    ("init", "replace", ["not-a-uuid"]),
    ("init", "replace", [7]),
    ("init", "replace", [STREAM]),  # itself
    ("init", "replace", [STREAM.upper()]),
    ("init", "replace", [str(UUID(int=n)) for n in range(17)]),
    ("status", "group_by", "device"),
    ("status", "group_by", [7]),
    ("status", "group_by", [f"key{n}" for n in range(100)]),
    ("status", "consistency", "eventual"),
    ("status", "consistency", 7),
]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    BAD_FIELDS,
    ids=[f"{kind} {field} {str(value)[:24]}" for kind, field, value in BAD_FIELDS],
)
def test_a_field_must_have_the_type_and_limits_of_the_contract(
    site: Site, client: StreamwatchClient, account: str, kind: str, field: str, value: Any
) -> None:
    body = GOOD | {field: value}
    assert len(json.dumps(body)) < 16 * 1024
    refuse(site, client, account, kind, body, "bad_field", field)


@pytest.mark.parametrize("name", METADATA)
def test_a_heartbeat_with_bad_metadata_counts(
    site: Site, client: StreamwatchClient, account: str, name: str
) -> None:
    site.wait_for_leader()
    stream = client.init(account, metadata={"device": "tv"})["stream"]
    before = client.status(account, consistency="strong").streams[stream]
    body = {"account": account, "stream": stream, "metadata": METADATA[name]}
    error = client.request("heartbeat", body)["error"]
    assert (error["code"], error["field"]) == ("bad_field", "metadata")
    assert error["message"].endswith("the heartbeat counts, its metadata is ignored")
    after = client.status(account, consistency="strong").streams[stream]
    assert after["metadata"] == {"device": "tv"}
    assert after["last_seen"] >= before["last_seen"]


def test_a_stop_with_a_bad_reason_takes_effect(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    site.wait_for_leader()
    for reason in ["", "r" * 65, "a\nb", 7, ["bye"]]:
        client.init(account)
        error = client.request("stop", {"account": account, "all": True, "reason": reason})["error"]
        assert (error["code"], error["field"]) == ("bad_field", "reason")
        assert client.status(account, consistency="strong").count == 0


@pytest.mark.parametrize("empty", [[], {}, None])
def test_empty_metadata_of_any_language_is_accepted(
    client: StreamwatchClient, account: str, empty: Any
) -> None:
    body = {"account": account, "metadata": empty}
    stream = client.request("init", body)["stream"]
    client.heartbeat(account, stream, metadata={"device": "tv"})
    client.publish("heartbeat", body | {"stream": stream}, want_reply=False)
    record = client.status(account, consistency="strong").streams[stream]
    assert record["metadata"] == {"device": "tv"}


@pytest.mark.parametrize(
    "key", ["acme.foo", "acme.foo.alice", "acme.Init", "acme.init2", "acme", ""]
)
def test_an_undefined_kind_is_unknown(
    site: Site, client: StreamwatchClient, account: str, key: str
) -> None:
    refuse(site, client, account, "", GOOD, "unknown_kind", routing_key=key)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tenant", ["ac me", "acmé", "a/c", "t" * 65, ""])
def test_a_tenant_must_be_of_plain_characters(
    site: Site, client: StreamwatchClient, account: str, kind: str, tenant: str
) -> None:
    key = f"{tenant}.{kind}"
    refuse(site, client, account, kind, GOOD, "bad_tenant", routing_key=key)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("header", ["bob", "Alice", "", 7])
def test_the_header_must_agree_with_the_body(
    site: Site, client: StreamwatchClient, account: str, kind: str, header: Any
) -> None:
    headers = {"account": header}
    refuse(site, client, account, kind, GOOD, "account_mismatch", headers=headers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("word", ["bob", "Alice", "al%69ce2", "alice.bob"])
def test_the_routing_key_must_agree_with_the_body(
    site: Site, client: StreamwatchClient, account: str, kind: str, word: str
) -> None:
    key = f"acme.{kind}.{word}"
    refuse(site, client, account, kind, GOOD, "account_mismatch", routing_key=key)


@pytest.mark.parametrize("word", ["%", "%zz", "%ff", "alice%2"])
def test_a_routing_key_that_is_badly_encoded_is_refused(
    client: StreamwatchClient, account: str, word: str
) -> None:
    reply = client.request("init", GOOD, routing_key=f"acme.init.{word}")
    assert reply.type == "error"
    assert reply["error"]["code"] in ("account_mismatch", "bad_field")
    assert_the_next_good_request_is_served(client, account)


@pytest.mark.parametrize("kind", [*KINDS, "foo"])
def test_bad_input_without_reply_to_is_survived(
    client: StreamwatchClient, account: str, kind: str
) -> None:
    for body in [b"{", b"\xff", b"{}", bytes(1024 * 1024), in_account(7)]:
        client.publish(kind, body, want_reply=False)
    assert_the_next_good_request_is_served(client, account)
    assert client.inbox == []


OUR_QUEUES = [
    "streamwatch.p00.log",
    "streamwatch.p00.init",
    "streamwatch.p00.status",
    "streamwatch.unrouted",
]


def test_no_reply_is_put_into_a_queue_of_ours(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    site.wait_for_leader()
    stopped, unanswered = client.init(account)["stream"], new_stream_id()
    client.stop(account, stopped)
    # Counters of a log are updated with the next tick.
    client.listen(5 * site.interval)
    before = site.bad_input()
    for queue in OUR_QUEUES:
        options = {"reply_to": site.namespace + queue, "correlation_id": unanswered}
        for kind in ["init", "status", "foo"]:
            client.publish(kind, {"account": account}, **options)
            client.publish(kind, b"{", **options)
        client.publish("heartbeat", {"account": account, "stream": stopped}, **options)
    assert client.status(account, consistency="strong").type == "activity"

    # Among the requests a reply would have been one more that is bad, and counted as such.
    assert client.listen(3 * site.interval) == []
    counted = site.bad_input() - before
    for code in ["bad_json", "unknown_kind"]:
        assert counted[code] <= 2 * len(OUR_QUEUES), "no more than this test has sent"
    for code in ["missing_field", "bad_tenant", "account_mismatch", "too_large"]:
        assert counted[code] == 0
    # And in the log it could be read.
    for entry in site.read_log():
        is_reply = "contract" in (entry.properties.headers or {})
        assert not (is_reply and entry.properties.correlation_id == unanswered)
    assert_the_next_good_request_is_served(client, account + "-next")


def test_a_reply_to_without_a_consumer_is_survived(client: StreamwatchClient, account: str) -> None:
    for reply_to in ["nobody", "q" * 255, "amq.rabbitmq.reply-to.forged", "amq.gen-gone"]:
        for kind in KINDS:
            client.publish(kind, {"account": account, "stream": STREAM}, reply_to=reply_to)
            client.publish(kind, b"{", reply_to=reply_to)
    assert_the_next_good_request_is_served(client, account + "-next")


def test_properties_of_any_kind_are_survived(
    site: Site, client: StreamwatchClient, account: str
) -> None:
    properties: dict[str, Any] = {
        "user_id": pika.URLParameters(site.url).credentials.username,
        "type": "tick",
        "app_id": "streamwatch",
        "message_id": "m" * 255,
        "timestamp": 2**63 - 1,
        "priority": 255,
        "content_type": "text/plain",
        "content_encoding": "gzip",
        "cluster_id": "c",
        "expiration": "60000",
        "delivery_mode": 2,
        "headers": {
            "account": account,
            "contract": -1,
            "x-stream-offset": 7,
            "x-death": [{"queue": "log"}],
            "CC": [],
            "nested": {"list": [1, None, {"a": b"b"}]},
        },
    }
    body = {"account": account, "stream": new_stream_id()}
    assert client.request("init", body, **properties).type == "opened"
    assert client.request("status", body, **properties).type == "activity"
    client.publish("heartbeat", body, **properties)
    client.publish("stop", body, **properties)
    assert client.status(account, consistency="strong").count == 0


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("init", b"{", "bad_json"),
        ("status", bytes(17 * 1024), "too_large"),
        ("heartbeat", b"{}", "missing_field"),
        ("stop", in_account(7), "bad_field"),
        ("foo", b"{}", "unknown_kind"),
    ],
)
def test_bad_input_is_counted_by_its_code(
    site: Site, client: StreamwatchClient, kind: str, body: bytes, code: str
) -> None:
    before = site.bad_input()[code]
    client.publish(kind, body, want_reply=False)
    eventually(lambda: site.bad_input()[code] > before, f"{code} is counted")
