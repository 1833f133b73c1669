// The good player over HTTP, against a real edge, broker and workers.

import assert from "node:assert/strict";
import { after, afterEach, test } from "node:test";

import { Backend } from "../node/backend.js";
import { HttpLink } from "./http.js";
import { Playback } from "./playback.js";
import { becomes, eventually, newAccount, site, withoutWorkers } from "./site.js";

const app = new Backend(site.urls.backend, site.tenant, { namespace: site.namespace });
const playbacks = [];

afterEach(() => Promise.all(playbacks.splice(0).map((playback) => playback.stop())));
after(() => app.close());

function player(account, options) {
  const playback = new Playback(new HttpLink(site.edge), account, options);
  playbacks.push(playback);
  return playback;
}

const streams = async (account) => (await app.activity(account, { strong: true })).streams;

test("a player opens a stream, keeps it for longer than the TTL, and stops it", async () => {
  const account = `Zoë/${newAccount()}`;
  const playback = player(account, { metadata: { device: "tv" }, maxActive: 2 });
  const state = await playback.open();
  assert.equal(state.type, "opened");
  assert.equal(state.activity.count, 1);
  const [opened] = await streams(account);
  assert.equal(opened.stream, playback.stream);
  assert.deepEqual(opened.metadata, { device: "tv" });
  const aTtlLater = Date.parse(opened.last_seen) + 1.5 * site.ttlMs;
  const lastSeen = async () => Date.parse((await streams(account))[0].last_seen);
  await eventually(async () => (await lastSeen()) > aTtlLater, "heartbeats for longer than the TTL");
  await playback.stop();
  assert.deepEqual(await streams(account), []);
});

test("a player is refused, and takes the place of another, which ends", async () => {
  const account = newAccount();
  const first = player(account, { maxActive: 1 });
  await first.open();
  const second = player(account, { maxActive: 1 });
  const { type, reason, conflicts } = await second.open();
  assert.deepEqual([type, reason], ["refused", "max_active"]);
  assert.deepEqual(conflicts, [{ limit: 0, streams: [first.stream] }]);
  const third = player(account, { maxActive: 1, replace: [first.stream] });
  assert.equal((await third.open()).type, "opened");
  assert.equal((await becomes(first, "stopped")).reason, "replaced");
  assert.deepEqual((await streams(account)).map(({ stream }) => stream), [third.stream]);
});

test("a player that a backend stops gets its reason", async () => {
  const account = newAccount();
  const playback = player(account);
  await playback.open();
  await app.stop(account, playback.stream, { reason: "kicked by support" });
  const { reason, givenReason } = await becomes(playback, "stopped");
  assert.deepEqual([reason, givenReason], ["stopped", "kicked by support"]);
});

test("without workers a player plays on, and counts once they are back", async () => {
  const account = newAccount();
  const playback = player(account);
  await withoutWorkers(async () => {
    assert.equal((await playback.open()).type, "unanswered");
  });
  await becomes(playback, "opened");
  assert.deepEqual((await streams(account)).map(({ stream }) => stream), [playback.stream]);
});

test("the activity is that of a backend", async () => {
  const account = newAccount();
  const playback = player(account, { metadata: { device: "tv" } });
  await playback.open();
  const link = new HttpLink(site.edge);
  await new Promise((resolve) => link.addEventListener("up", resolve, { once: true }));
  const body = { account, consistency: "strong", group_by: ["device"] };
  const { activity } = await link.request("status", body);
  assert.deepEqual(activity.by, { device: { tv: 1 } });
  const shown = ({ stream, admitted, metadata }) => ({ stream, admitted, metadata });
  assert.deepEqual(activity.streams.map(shown), (await streams(account)).map(shown));
  assert.equal(activity.streams[0].stream, playback.stream);
});
