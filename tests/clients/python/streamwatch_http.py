"""A player over HTTP, through an edge, with Python's standard library: copy it, change it.

    player = Player("https://edge.example.com", "alice", token=token)
    outcome = player.open(metadata={"device": "tv"}, max_active=2)
    if outcome["type"] == "refused":
        ...                        # do not play: see outcome["conflicts"]
    while playing:
        sleep(player.heartbeat_every)
        if (end := player.heartbeat()) is not None:
            ...                    # stop playing: end["reason"]
    player.stop()

A player plays on if the service does not answer: `open` then returns `{"type": "unanswered"}`, and
heartbeats go on. They count, also of a stream whose `open` was not answered.
"""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
import uuid
from typing import Any
from urllib.parse import quote

Body = dict[str, Any]

# Statuses that end nothing: the player plays on, and tries again.
PLAY_ON = {408, 429, 500, 502, 503, 504}


class Denied(Exception):
    """The credentials or the request are wrong; a repetition gets the same response."""

    def __init__(self, status: int, problem: Body):
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status, self.problem = status, problem


class Player:
    """One playback of an account. `token` is a bearer token, `application` an id without a secret."""

    def __init__(
        self, edge: str, account: str, *, token: str | None = None, application: str | None = None
    ):
        # Created before the first try, so that a retry names the same stream.
        self.stream = str(uuid.uuid4())
        self.heartbeat_every = 30.0
        streams = f"{edge}/api/v1/accounts/{quote(account, safe='')}/streams"
        self._url = f"{streams}/{self.stream}"
        basic = base64.b64encode(f"{application}:".encode()).decode()
        self._authorization = f"Bearer {token}" if token else f"Basic {basic}"

    def open(self, **fields: Any) -> Body:
        """Opens the stream: `opened`, `refused` or `unanswered`. A repetition counts once."""
        status, body = self._call("PUT", "", fields)
        if status in PLAY_ON:
            return {"type": "unanswered"}
        self._follow(body)
        return {**body, "type": "refused" if status == 409 else "opened"}

    def heartbeat(self) -> Body | None:
        """Keeps the stream; returns its end if it has ended."""
        status, body = self._call("POST", "/heartbeat")
        self._follow(body)
        return body if status == 410 else None

    def stop(self) -> bool:
        """Stops the stream; `False` if RabbitMQ has not stored that, so that it expires later."""
        status, _ = self._call("DELETE", "")
        return status not in PLAY_ON

    def _follow(self, body: Body) -> None:
        if interval := body.get("heartbeat_every_ms"):
            self.heartbeat_every = interval / 1_000

    def _call(self, method: str, path: str, body: Body | None = None) -> tuple[int, Body]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self._authorization, "Content-Type": "application/json"}
        request = urllib.request.Request(
            self._url + path, data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read() or b"{}")
            if error.code not in PLAY_ON | {409, 410}:
                raise Denied(error.code, problem) from error
            return error.code, problem
        except OSError:
            return 503, {}
