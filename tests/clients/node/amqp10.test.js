// Players and backends over AMQP 1.0, against a real broker and real workers.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { NoAnswer, Rejected } from "../javascript/link.js";
import { Playback } from "../javascript/playback.js";
import { becomes, eventually, newAccount, site, startBroker, stopBroker } from "../javascript/site.js";
import { Amqp10Link } from "./amqp10.js";

const { namespace, tenant } = site;
const links = [];
after(() => Promise.all(links.map((link) => link.close())));

/** A connection with the permissions of this role. */
async function connected(role, ofTenant = tenant) {
  const link = new Amqp10Link(site.urls[role], ofTenant, { namespace });
  links.push(link);
  await eventually(() => link.up, "it is connected");
  return link;
}

const backend = await connected("backend");
const status = (account, more) =>
  backend.request("status", { account, consistency: "strong", ...more });

test("a stream is opened, kept by heartbeats, and stopped", async () => {
  const account = newAccount();
  const player = new Playback(await connected("player"), account, { metadata: { device: "tv" } });
  assert.equal((await player.open()).type, "opened");
  await sleep(1.5 * site.ttlMs);
  const { activity, state } = await status(account, { stream: player.stream });
  assert.deepEqual([activity.count, state], [1, "active"]);
  assert.deepEqual(activity.streams[0].metadata, { device: "tv" });
  await player.stop();
  assert.equal((await status(account)).activity.count, 0);
});

test("a player that is replaced learns it by its next heartbeat", async () => {
  const account = newAccount();
  const link = await connected("player");
  const first = new Playback(link, account, { maxActive: 1 });
  await first.open();
  const refused = await new Playback(link, account, { maxActive: 1 }).open();
  assert.deepEqual([refused.type, refused.reason], ["refused", "max_active"]);
  const second = new Playback(link, account, { maxActive: 1, replace: [first.stream] });
  assert.equal((await second.open()).type, "opened");
  assert.equal((await becomes(first, "stopped")).reason, "replaced");
  await second.stop();
});

test("hundreds of requests at once each get their own reply", async () => {
  const accounts = Array.from({ length: 300 }, newAccount);
  const replies = await Promise.all(accounts.map((account) => status(account)));
  assert.deepEqual(replies.map(({ activity }) => activity.account), accounts);
});

test("a batch counts, and its bad news are returned", async () => {
  const [account, stream] = [newAccount(), crypto.randomUUID()];
  const { partition, partitions } = await status(account);
  const news = new Promise((resolve) => {
    backend.addEventListener("news", ({ detail }) => resolve(detail), { once: true });
  });
  const events = [{ kind: "heartbeat", account, stream }, { kind: "stop", account }];
  await backend.publish("batch", { partition, partitions, events });
  assert.equal((await status(account)).activity.count, 1);
  assert.deepEqual((await news).events.map(({ index, type }) => [index, type]), [[1, "error"]]);
});

test("an error is returned with its code", async () => {
  const wrong = backend.request("init", { account: newAccount(), stream: "not a UUID" });
  await assert.rejects(wrong, (error) => {
    assert.ok(error instanceof Rejected);
    assert.deepEqual([error.code, error.field], ["bad_field", "stream"]);
    return true;
  });
});

test("a missing permission is reported, and the next try is made all the same", async () => {
  const stranger = await connected("player", "other");
  for (let attempt = 0; attempt < 2; attempt++) {
    await eventually(() => stranger.up, "it is connected");
    await assert.rejects(stranger.request("status", { account: newAccount() }), (error) => {
      assert.ok(error instanceof NoAnswer);
      assert.match(error.message, /refused/);
      return true;
    });
  }
});

test("a restart of the broker ends no stream", async () => {
  const account = newAccount();
  const player = new Playback(await connected("player"), account);
  await player.open();
  const { last_seen: before } = (await status(account)).activity.streams[0];
  await stopBroker();
  await startBroker();
  const seen = async () => {
    const { activity } = await status(account).catch(() => ({}));
    return activity?.streams[0]?.last_seen > before;
  };
  await eventually(seen, "a heartbeat after the restart");
  await player.stop();
});
