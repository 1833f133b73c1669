"""Players over HTTP: the example, an edge that is killed, and the same counts over AMQP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from processes import Edge, Site, eventually
from streamwatch_http import Denied, Player

SITE = {"ttl": 3.0, "heartbeat_every": 1.0}


@pytest.fixture
def edges(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Edge]]:
    site.wait_for_leader()
    environment = site.environment(site.url)
    started = [
        Edge(environment, tmp_path_factory.mktemp("edge"), "web", "acme") for _ in range(2)
    ]
    yield started
    for edge in started:
        edge.kill()


def player(edge: Edge, account: str) -> Player:
    return Player(f"http://{edge.api}", account, application="web")


def count(site: Site, account: str) -> int:
    with site.client() as client:
        return int(client.status(account, consistency="strong")["activity"]["count"])


def test_two_devices_over_http_have_the_counts_of_amqp(site: Site, edges: list[Edge]) -> None:
    tv, phone, tablet = (player(edge, "story") for edge in [*edges, edges[0]])
    assert count(site, "story") == 0
    assert tv.open(metadata={"device": "tv"}, max_active=2)["activity"]["count"] == 1
    assert phone.open(metadata={"device": "phone"}, max_active=2)["type"] == "opened"
    assert tv.heartbeat_every == 1.0
    assert count(site, "story") == 2
    refused = tablet.open(max_active=2)
    [conflict] = refused["conflicts"]
    assert (refused["type"], len(conflict["streams"])) == ("refused", 2)
    assert tv.heartbeat() is None and phone.heartbeat() is None
    assert phone.stop()
    assert count(site, "story") == 1
    # The television loses its power.
    eventually(lambda: count(site, "story") == 0, "the stream expires", within=20)
    assert tv.heartbeat()["reason"] == "expired"


def test_a_device_that_a_backend_stops_learns_it_from_its_heartbeat_at_any_edge(
    site: Site, edges: list[Edge]
) -> None:
    first = player(edges[0], "kicked")
    first.open()
    other = player(edges[1], "kicked")
    other.stream, other._url = first.stream, first._url.replace(edges[0].api, edges[1].api)
    assert other.heartbeat() is None
    with site.client() as client:
        client.stop("kicked", first.stream)
    for device in (first, other):
        end = eventually(device.heartbeat, "the heartbeat gets 410", within=10, every=0.1)
        assert end["reason"] == "stopped"
    assert count(site, "kicked") == 0


def test_an_edge_that_is_killed_loses_nothing_stored_and_counts_nothing_twice(
    site: Site, edges: list[Edge]
) -> None:
    killed, kept = edges
    players = [player(killed, f"viewer-{n}") for n in range(20)]
    for one in players:
        assert one.open()["type"] == "opened"
        assert one.heartbeat() is None
    killed.kill()
    assert players[0].open() == {"type": "unanswered"}
    for n, one in enumerate(players):
        # The load balancer leads to another edge; each device repeats its last request.
        one._url = one._url.replace(killed.api, kept.api)
        assert one.open()["type"] == "opened"
        assert one.heartbeat() is None
        assert count(site, f"viewer-{n}") == 1
    for n, one in enumerate(players):
        assert one.stop()
        assert count(site, f"viewer-{n}") == 0


def test_without_workers_heartbeats_are_stored_and_count_once_there_is_one(
    site: Site, edges: list[Edge]
) -> None:
    device = player(edges[0], "alone")
    assert device.open()["type"] == "opened"
    for worker in site.workers:
        assert worker.end() == 0
    assert device.open() == {"type": "unanswered"}
    # No worker answers, and RabbitMQ stores the heartbeat.
    assert device.heartbeat() is None
    site.start_workers(1)
    assert count(site, "alone") == 1


def test_wrong_credentials_are_an_error_and_not_a_reason_to_play_on(edges: list[Edge]) -> None:
    with pytest.raises(Denied) as denied:
        Player(f"http://{edges[0].api}", "alice", application="another").open()
    assert denied.value.status == 401
