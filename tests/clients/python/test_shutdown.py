"""A worker that is asked to end finishes what it took, and leaves the rest to the other."""

import signal
from collections.abc import Iterator

import pytest

from processes import Site, Worker
from streamwatch_client import StreamwatchClient, new_stream_id

SITE = {"ttl": 60.0, "heartbeat_every": 20.0}


@pytest.fixture
def pair(bare_site: Site) -> Iterator[tuple[Worker, Worker]]:
    """Two workers; a test may end the first."""
    serving = [worker for worker in bare_site.workers if worker.running]
    serving += bare_site.start_workers(2 - len(serving))
    yield serving[0], serving[1]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_requests_in_flight_are_answered_while_a_worker_ends(
    bare_site: Site, pair: tuple[Worker, Worker], account: str, how: signal.Signals
) -> None:
    first, second = pair
    # Without confirms, so that the requests are many and in flight at one time.
    with bare_site.client(confirms=False) as client:
        warm_up(client)
        inits, questions = [], []
        for n in range(90):
            inits.append(client.publish("init", {"account": account, "stream": new_stream_id()}))
            for consistency in ["local", "strong"]:
                ask = {"account": account, "consistency": consistency}
                questions.append(client.publish("status", ask))
            if n == 45:
                first.process.send_signal(how)
        assert first.wait_end() == 0

        opened = [client.wait_for(correlation_id) for correlation_id in inits]
        assert {reply.type for reply in opened} == {"opened"}
        assert sorted(reply.count for reply in opened) == list(range(1, 91))
        answers = [client.wait_for(correlation_id) for correlation_id in questions]
        assert {reply.type for reply in answers} == {"activity"}
        # The last replies may be repeated, because the broker may drop an acknowledgement on a
        # closing connection. No other reply may arrive.
        again = {reply.properties.correlation_id for reply in client.inbox}
        assert again <= {*inits, *questions}

        # The other goes on alone.
        assert second.running and second.ready
        assert client.status(account, consistency="strong").count == 90
        assert client.init(account).count == 91


def test_the_next_worker_has_the_state_of_the_last_one(
    bare_site: Site, pair: tuple[Worker, Worker], account: str
) -> None:
    with bare_site.client() as client:
        stays = client.init(account, metadata={"device": "tv"})
        goes = client.init(account)["stream"]
        client.stop(account, goes)
        before = client.status(account, consistency="strong")
        assert [worker.end() for worker in pair] == [0, 0]
        # No worker is running.
        later = new_stream_id()
        client.heartbeat(account, later, want_bad_news=False)

        bare_site.start_workers(1)
        after = client.status(account, consistency="strong")
        assert set(after.streams) == {stays["stream"], later}
        for name in ["started_at", "admitted", "metadata"]:
            stream = stays["stream"]
            assert after.streams[stream][name] == before.streams[stream][name]
        assert client.init(account, goes)["reason"] == "stopped"


def warm_up(client: StreamwatchClient) -> None:
    """Both workers have answered before, so that the test does not measure their start."""
    for correlation_id in [client.publish("status", {"account": "warm-up"}) for _ in range(20)]:
        client.wait_for(correlation_id)
