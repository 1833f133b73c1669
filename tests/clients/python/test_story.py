"""One account on two devices, and an app that requests its activity."""

import threading
import time
from dataclasses import dataclass
from itertools import groupby

from processes import Site, eventually
from streamwatch_client import new_stream_id


@dataclass(frozen=True)
class Answer:
    asked_at: float
    received_at: float
    count: int


class Observer(threading.Thread):
    """A third app: it asks for the account's activity the whole time."""

    def __init__(self, site: Site, account: str, consistency: str):
        super().__init__(daemon=True)
        self.answers: list[Answer] = []
        self.failure: Exception | None = None
        self._site, self._account, self._consistency = site, account, consistency
        self._enough = threading.Event()

    def run(self) -> None:
        try:
            with self._site.client() as client:
                while not self._enough.wait(0.01):
                    asked_at = time.monotonic()
                    reply = client.status(self._account, consistency=self._consistency)
                    self.answers.append(Answer(asked_at, reply.received_at, reply.count))
        except Exception as failure:
            self.failure = failure

    def wait_for(self, count: int) -> None:
        def is_seen() -> bool:
            assert self.failure is None, self.failure
            return bool(self.answers) and self.answers[-1].count == count

        eventually(is_seen, f"the observer ({self._consistency}) sees {count}")

    def finish(self) -> list[Answer]:
        self._enough.set()
        self.join()
        assert self.failure is None, self.failure
        return self.answers


def test_a_third_app_sees_the_television_and_the_phone_come_and_go(
    site: Site, account: str
) -> None:
    tv_stream, phone_stream = new_stream_id(), new_stream_id()
    strong, local = Observer(site, account, "strong"), Observer(site, account, "local")
    observers = [strong, local]
    # (from, to, the count in every reply to a request in between)
    phases: list[tuple[float, float, int]] = []

    def all_see(count: int) -> None:
        for observer in observers:
            observer.wait_for(count)

    with site.client() as tv, site.client() as phone:
        for observer in observers:
            observer.start()
        start = time.monotonic()
        all_see(0)
        phases.append((start, time.monotonic(), 0))

        assert tv.init(account, tv_stream, metadata={"device": "tv"}).count == 1
        opened_at = time.monotonic()
        all_see(1)
        phases.append((opened_at, time.monotonic(), 1))

        assert phone.init(account, phone_stream, metadata={"device": "phone"}).count == 2
        opened_at = time.monotonic()
        all_see(2)
        while time.monotonic() < opened_at + 2 * site.ttl:
            tv.heartbeat(account, tv_stream)
            phone.heartbeat(account, phone_stream)
            time.sleep(site.heartbeat_every)
        phases.append((opened_at, time.monotonic(), 2))

        phone.stop(account, phone_stream)
        stopped_at = time.monotonic()
        all_see(1)

        last_sent_at = time.monotonic()
        tv.heartbeat(account, tv_stream)
        last_confirmed_at = time.monotonic()
        # The television is unplugged.
        all_see(0)
        phases.append((stopped_at, last_sent_at + site.ttl, 1))
        gone_at = last_confirmed_at + site.ttl + 2 * site.interval + 1.0

    for observer in observers:
        answers = observer.finish()
        # A local answer may be three intervals old, a strong one is not.
        age = 3 * site.interval if observer is local else 0.0
        for begin, end, count in phases:
            seen = {
                answer.count
                for answer in answers
                if answer.asked_at > begin + age and answer.received_at < end
            }
            assert seen <= {count}, f"seen instead of {count}: {seen}"
        late = [answer for answer in answers if answer.asked_at > gone_at and answer.count]
        assert not late, "the television was counted for too long"

    seen = [answer.count for answer in strong.answers]
    assert [count for count, _ in groupby(seen)] == [0, 1, 2, 1, 0]
