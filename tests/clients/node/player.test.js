// The good player, over AMQP, against a real broker and real workers.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { Playback } from "../javascript/playback.js";
import {
  becomes,
  eventually,
  newAccount,
  site,
  startBroker,
  stopBroker,
  withoutWorkers,
} from "../javascript/site.js";
import { AmqpLink } from "./amqp.js";
import { Backend } from "./backend.js";

const { namespace, tenant } = site;
const app = new Backend(site.urls.backend, tenant, { namespace });
const players = [];
const children = [];

afterEach(async () => {
  const over = players.splice(0).map(async ({ playback, link }) => {
    await playback.stop();
    await link.close();
  });
  await Promise.all(over);
  for (const child of children.splice(0)) child.kill("SIGKILL");
});
after(() => app.close());

/** A player with a connection of its own. */
function player(account, options) {
  const link = new AmqpLink(site.urls.player, tenant, { namespace });
  const playback = new Playback(link, account, options);
  players.push({ playback, link });
  return playback;
}

/** The program `player.js` and its output. */
function program(account, ...options) {
  const child = spawn(
    process.execPath,
    [`${import.meta.dirname}/player.js`, tenant, account, ...options],
    {
      env: { ...process.env, AMQP_URL: site.urls.player, STREAMWATCH_NAMESPACE: namespace },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  children.push(child);
  const exit = once(child, "exit");
  const said = [];
  createInterface(child.stdout).on("line", (line) => said.push(JSON.parse(line)));
  const says = (type) => eventually(() => said.find((it) => it.type === type), type);
  return { child, exit, says };
}

const streams = async (account) => (await app.activity(account, { strong: true })).streams;
const count = async (account) => (await streams(account)).length;

test("heartbeats keep a stream counted, and a stop ends it at once", async () => {
  const account = newAccount();
  const playback = player(account, { metadata: { device: "tv" } });
  assert.equal((await playback.open()).type, "opened");
  await sleep(1.5 * site.ttlMs);
  const [record] = await streams(account);
  assert.equal(record.stream, playback.stream);
  assert.deepEqual([record.admitted, record.metadata], [true, { device: "tv" }]);
  await playback.stop();
  assert.equal(await count(account), 0);
  assert.equal(playback.state.type, "over");
});

test("a second player is refused, takes over, and the first is notified", async () => {
  const account = newAccount();
  const first = player(account, { maxActive: 1 });
  await first.open();
  const { type, reason, activity } = await player(account, { maxActive: 1 }).open();
  assert.deepEqual([type, reason, activity.count], ["refused", "max_active", 1]);
  assert.equal(activity.streams[0].stream, first.stream);
  const second = player(account, { maxActive: 1, replace: [first.stream] });
  assert.equal((await second.open()).type, "opened");
  assert.deepEqual(await becomes(first, "stopped"), {
    type: "stopped",
    reason: "replaced",
    givenReason: undefined,
  });
  assert.deepEqual((await streams(account)).map((it) => it.stream), [second.stream]);
});

test("a restarted player takes its own place", async () => {
  const account = newAccount();
  const limited = { limits: [{ max: 1 }], same: ["device"], metadata: { device: "tv-1" } };
  const first = player(account, limited);
  await first.open();
  const again = player(account, limited);
  assert.equal((await again.open()).type, "opened");
  assert.equal((await becomes(first, "stopped")).reason, "replaced");
  const other = player(account, { ...limited, metadata: { device: "tv-2" } });
  const { type, conflicts } = await other.open();
  assert.deepEqual([type, conflicts], ["refused", [{ limit: 0, streams: [again.stream] }]]);
});

test("a player gets the reason of the backend that ended all streams", async () => {
  const account = newAccount();
  const [tv, phone] = [player(account), player(account)];
  await Promise.all([tv.open(), phone.open()]);
  await app.stopAll(account, { reason: "account closed" });
  for (const playback of [tv, phone]) {
    const { reason, givenReason } = await becomes(playback, "stopped");
    assert.deepEqual([reason, givenReason], ["stopped", "account closed"]);
  }
});

test("a player whose stream a backend has stopped is notified", async () => {
  const account = newAccount();
  const playback = player(account);
  await playback.open();
  await app.stop(account, playback.stream);
  assert.equal((await becomes(playback, "stopped")).reason, "stopped");
  assert.equal(await count(account), 0);
});

test("without a reply it plays after two seconds, and counts once", async () => {
  const account = newAccount();
  const playback = player(account, { maxActive: 1, metadata: { device: "tv" } });
  await withoutWorkers(async () => {
    const asked = Date.now();
    assert.equal((await playback.open()).type, "unanswered");
    assert.ok(Date.now() - asked < 4_000);
    // The request is repeated meanwhile.
    await sleep(3_000);
  });
  await becomes(playback, "opened");
  assert.deepEqual((await streams(account)).map((it) => it.stream), [playback.stream]);
});

test("a restart of the broker ends no stream; a player that starts meanwhile counts afterwards", async () => {
  const account = newAccount();
  const playing = player(account);
  const { activity } = await playing.open();
  await stopBroker();
  let beginning;
  try {
    beginning = player(account);
    assert.equal((await beginning.open()).type, "unanswered");
  } finally {
    await startBroker();
  }
  await becomes(beginning, "opened");
  const lastSeen = async () => {
    const records = await streams(account).catch(() => []);
    const record = records.find(({ stream }) => stream === playing.stream);
    return record?.last_seen > activity.streams[0].last_seen;
  };
  await eventually(lastSeen, "a heartbeat after the restart");
  assert.equal(playing.state.type, "opened");
  assert.equal(await count(account), 2);
});

test("a player that slept past its TTL asks again, and counts as admitted", async () => {
  const account = newAccount();
  const { child, says } = program(account, "--device", "laptop");
  const { stream } = await says("opened");
  child.kill("SIGSTOP");
  await eventually(async () => (await count(account)) === 0, "it expires");
  child.kill("SIGCONT");
  const [record] = await eventually(
    async () => (await count(account)) === 1 && (await streams(account)),
    "it counts again",
  );
  assert.deepEqual([record.stream, record.admitted], [stream, true]);
});

test("a player that slept while another took its place is refused", async () => {
  const account = newAccount();
  const { child, exit, says } = program(account, "--max-active", "1");
  await says("opened");
  child.kill("SIGSTOP");
  await eventually(async () => (await count(account)) === 0, "it expires");
  const other = player(account, { maxActive: 1 });
  assert.equal((await other.open()).type, "opened");
  child.kill("SIGCONT");
  assert.equal((await says("refused")).reason, "max_active");
  assert.deepEqual(await exit, [0, null]);
  assert.deepEqual((await streams(account)).map((it) => it.stream), [other.stream]);
});

test("a terminated player sends its stop; a killed one expires", async () => {
  const account = newAccount();
  const [polite, killed] = [program(account), program(account)];
  await Promise.all([polite.says("opened"), killed.says("opened")]);
  assert.equal(await count(account), 2);
  polite.child.kill("SIGTERM");
  assert.deepEqual(await polite.exit, [0, null]);
  assert.equal(await count(account), 1);
  killed.child.kill("SIGKILL");
  const died = Date.now();
  await eventually(async () => (await count(account)) === 0, "it expires");
  assert.ok(Date.now() - died > site.ttlMs - 2 * site.heartbeatEveryMs, "not before its TTL");
});
