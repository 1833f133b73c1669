"""The documented rules of Adobe's Concurrency Monitoring, as FROM-ADOBE.md expresses them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from processes import ROOT
from streamwatch_client import Metadata, Reply, StreamwatchClient, new_stream_id

# No stream expires meanwhile.
SITE = {"ttl": 60.0, "heartbeat_every": 20.0}

PAGE = ROOT / "tests" / "clients" / "FROM-ADOBE.md"
ROW = re.compile(r"^\| (?P<rule>.+) \| `(?P<terms>\{.*\})` \|$", re.MULTILINE)
RULES = {row["rule"]: json.loads(row["terms"]) for row in ROW.finditer(PAGE.read_text())}

OPENED = "opened"


def instead_of(*earlier: int) -> tuple[str, Any]:
    """It is opened, and ends earlier ones."""
    return "replaced", earlier


def refused(*earlier: int, limit: int = 0) -> tuple[str, Any]:
    """It is refused for one limit, for which these earlier ones are in its way."""
    return "refused", {limit: earlier}


# By the begin of the rule: the metadata of one `init` after another, and the reply.
SCENARIOS: dict[str, list[tuple[Metadata, Any]]] = {
    "at most 3 streams of an account": [*[({}, OPENED)] * 3, ({}, refused(0, 1, 2))],
    "at most 1 stream, the latest plays": [
        ({}, OPENED),
        ({}, instead_of(0)),
        ({}, instead_of(1)),
    ],
    "at most 2 different devices": [
        ({"deviceId": "a"}, OPENED),
        ({"deviceId": "b"}, OPENED),
        ({"deviceId": "a"}, OPENED),
        ({"deviceId": "c"}, refused(0, 1, 2)),
    ],
    "at most 3 different zip codes": [
        *[({"zipcode": 95014 + n}, OPENED) for n in range(3)],
        ({"zipcode": 95014}, OPENED),
        ({"zipcode": 10001}, refused(0, 1, 2, 3)),
    ],
    "at most 3 streams of a device type": [
        ({"deviceType": "tv"}, OPENED),
        *[({"deviceType": "phone"}, OPENED)] * 3,
        ({"deviceType": "phone"}, refused(1, 2, 3)),
        ({"deviceType": "tv"}, OPENED),
    ],
    "at most 3 live streams": [
        *[({"contentType": "live"}, OPENED)] * 3,
        ({"contentType": "live"}, refused(0, 1, 2)),
        ({"contentType": "vod"}, OPENED),
        ({}, OPENED),
    ],
    "a policy for iOS alone": [
        ({"osType": "iOS"}, OPENED),
        ({"osType": "Android"}, OPENED),
        ({"osType": "iOS"}, refused(0)),
        ({"osType": "Android"}, OPENED),
    ],
    "live: 3 streams, latest wins": [
        *[({"content-type": "live"}, OPENED)] * 3,
        ({"content-type": "vod"}, OPENED),
        ({"content-type": "vod"}, instead_of(3)),
        ({"content-type": "live"}, instead_of(0)),
    ],
    "away from home": [
        ({"hba": False}, OPENED),
        ({"hba": True}, OPENED),
        ({"hba": False}, refused(0)),
        ({"hba": True}, OPENED),
    ],
    "a policy of two applications": [
        ({"application": "app1"}, OPENED),
        ({"application": "app2"}, OPENED),
        ({"application": "app3"}, OPENED),
        ({"application": "app2"}, refused(1, 2)),
        ({"application": "app1"}, OPENED),
    ],
    "several rules of one policy": [
        ({"deviceId": "a", "contentType": "live"}, OPENED),
        ({"deviceId": "b", "contentType": "vod"}, OPENED),
        ({"deviceId": "b", "contentType": "live"}, refused(0, limit=2)),
        ({"deviceId": "c", "contentType": "vod"}, refused(0, 1, limit=1)),
        ({"deviceId": "b", "contentType": "vod"}, OPENED),
        ({"deviceId": "a", "contentType": "vod"}, OPENED),
        ({"deviceId": "a", "contentType": "vod"}, refused(0, 1, 4, 5)),
    ],
}


def test_each_rule_of_the_page_has_a_scenario() -> None:
    found = [[rule for rule in RULES if rule.startswith(begin)] for begin in SCENARIOS]
    assert [len(rules) for rules in found] == [1] * len(SCENARIOS)
    assert len(RULES) == len(SCENARIOS)


@pytest.mark.parametrize("begin", SCENARIOS)
def test_a_rule_decides_as_documented(client: StreamwatchClient, account: str, begin: str) -> None:
    (terms,) = (terms for rule, terms in RULES.items() if rule.startswith(begin))
    streams: list[str] = []
    active: set[str] = set()
    for metadata, expected in SCENARIOS[begin]:
        stream = new_stream_id()
        reply = client.init(account, stream, metadata=metadata, **terms)
        kind, detail = (expected, ()) if expected == OPENED else expected
        streams.append(stream)
        if kind == "refused":
            ids = {limit: [streams[n] for n in earlier] for limit, earlier in detail.items()}
            assert reply.type == "refused", reply.body
            assert conflicts(reply) == ids
        else:
            ended = [streams[n] for n in detail]
            assert (reply.type, reply.body.get("replaced", [])) == (OPENED, ended)
            active = (active | {stream}) - set(ended)
        assert set(reply.streams) == active


def conflicts(reply: Reply) -> dict[int, list[str]]:
    return {conflict["limit"]: conflict["streams"] for conflict in reply["conflicts"]}


def test_the_viewer_chooses_the_stream_to_end(client: StreamwatchClient, account: str) -> None:
    first, second = (client.init(account, max_active=2)["stream"] for _ in range(2))
    stream = new_stream_id()
    reply = client.init(account, stream, max_active=2)
    assert conflicts(reply) == {0: [first, second]}
    reply = client.init(account, stream, max_active=2, replace=[second])
    assert (reply.type, reply["replaced"]) == (OPENED, [second])


def test_policies_with_different_strategies_take_two_steps(
    client: StreamwatchClient, account: str
) -> None:
    """The walkthrough of the page about the policy decision point, with one tenant."""
    p1 = {"max": 1, "where": {"application": ["app1", "app2"]}}  # the latest plays
    p2 = {"max": 2, "where": {"application": ["app2", "app3"]}}  # a new stream is blocked

    def init(application: str, **more: Any) -> Reply:
        metadata = {"application": application}
        return client.init(account, metadata=metadata, limits=[p1, p2], **more)

    s3, s4 = init("app2")["stream"], init("app3")["stream"]
    # P2 is among the conflicts, so s5 is blocked.
    assert set(conflicts(init("app2"))) == {0, 1}
    assert set(conflicts(init("app3"))) == {1}
    # P1 alone: its oldest stream gives way.
    in_the_way = conflicts(init("app1"))
    assert in_the_way == {0: [s3]}
    reply = init("app1", replace=in_the_way[0])
    assert (reply.type, reply["replaced"]) == (OPENED, [s3])
    assert set(reply.streams) == {s4, reply["stream"]}
