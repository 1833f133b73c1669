// The backend in Node, against a real broker and real workers.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import { NoAnswer, Rejected } from "../javascript/link.js";
import {
  eventually,
  newAccount,
  site,
  startBroker,
  stopBroker,
  withoutWorkers,
} from "../javascript/site.js";
import { Backend } from "./backend.js";

const QUESTIONS = 300;
const DEVICES = 32;

const backend = new Backend(site.urls.backend, site.tenant, { namespace: site.namespace });
after(() => backend.close());

test("hundreds of questions at once each get their own answer", async () => {
  const accounts = Array.from({ length: QUESTIONS }, newAccount);
  const opened = await Promise.all(accounts.map((account) => backend.open(account)));
  const answers = await Promise.all(
    accounts.map((account) => backend.activity(account, { strong: true })),
  );
  const told = answers.map(({ account, streams }) => [account, streams.map((it) => it.stream)]);
  assert.deepEqual(told, accounts.map((account, n) => [account, [opened[n].stream]]));
});

test("the tenant's accounts are listed page by page, and its streams are counted", async () => {
  const accounts = Array.from({ length: 12 }, newAccount).sort();
  await Promise.all(accounts.flatMap((it) => [backend.open(it), backend.open(it)]));
  const listed = [];
  let after;
  do {
    const page = await backend.accounts({ minActive: 2, after, limit: 5 });
    listed.push(...page.accounts.filter(({ account }) => accounts.includes(account)));
    after = page.next;
  } while (after !== undefined);
  assert.deepEqual(listed, accounts.map((account) => ({ account, count: 2 })));
  const totals = await backend.totals();
  assert.ok(totals.streams >= 24 && totals.accounts >= 12, JSON.stringify(totals));
  await assert.rejects(backend.accounts({ minActive: 0 }), Rejected);
});

test("of simultaneous inits exactly max_active are opened", async () => {
  const account = newAccount();
  const inits = Array.from({ length: DEVICES }, () => backend.open(account, { maxActive: 5 }));
  const replies = await Promise.all(inits);
  const counts = replies.filter(({ type }) => type === "opened").map((it) => it.activity.count);
  assert.deepEqual(counts.sort(), [1, 2, 3, 4, 5]);
  const reasons = replies.filter(({ type }) => type === "refused").map(({ reason }) => reason);
  assert.deepEqual(reasons, Array(DEVICES - 5).fill("max_active"));
});

test("limits count devices and kinds, and a refusal names the streams in the way", async () => {
  const account = newAccount();
  const limits = [
    { max: 2, distinct: "device" },
    { max: 1, where: { kind: ["live"] } },
  ];
  const open = (device, kind, terms) =>
    backend.open(account, { limits, metadata: { device, kind }, ...terms });
  const live = await open("tv", "live");
  assert.equal((await open("tv", "trailer")).type, "opened");
  assert.equal((await open("phone", "vod")).type, "opened");
  const refused = await open("phone", "live");
  assert.deepEqual([refused.type, refused.reason], ["refused", "limits"]);
  assert.deepEqual(refused.conflicts, [{ limit: 1, streams: [live.stream] }]);
  const replacing = await open("phone", "live", { onLimit: "replace_oldest", reason: "moved" });
  assert.deepEqual([replacing.type, replacing.replaced], ["opened", [live.stream]]);
});

test("one message ends all streams of an account", async () => {
  const account = newAccount();
  const opened = await Promise.all(Array.from({ length: 5 }, () => backend.open(account)));
  await backend.stopAll(account, { reason: "account closed" });
  assert.equal((await backend.activity(account, { strong: true })).count, 0);
  for (const { stream } of opened) await backend.heartbeat(account, stream);
  assert.equal((await backend.activity(account, { strong: true })).count, 0, "they stay out");
});

test("a retry with the same ids opens no second stream, and gets the same decision", async () => {
  const account = newAccount();
  const first = { stream: crypto.randomUUID(), messageId: crypto.randomUUID(), maxActive: 1 };
  const second = { ...first, stream: crypto.randomUUID(), messageId: crypto.randomUUID() };
  const opened = await backend.open(account, first);
  const again = await backend.open(account, first);
  assert.deepEqual([again.type, again.activity.count], ["opened", 1]);
  assert.equal(again.activity.streams[0].started_at, opened.activity.streams[0].started_at);
  assert.equal((await backend.open(account, second)).type, "refused");
  await backend.stop(account, first.stream);
  // The place is free, and yet: that request has been decided. A new one is decided afresh.
  const remembered = await backend.open(account, second);
  assert.deepEqual([remembered.type, remembered.remembered], ["refused", true]);
  assert.ok(remembered.retry_after_ms > 0);
  const afresh = { ...second, messageId: crypto.randomUUID() };
  assert.equal((await backend.open(account, afresh)).type, "opened");
});

test("activity is grouped by metadata, and a stream's state is returned", async () => {
  const account = newAccount();
  const { stream } = await backend.open(account, { metadata: { device: "tv" } });
  await backend.heartbeat(account, crypto.randomUUID(), { metadata: { device: "phone" } });
  const grouped = await backend.activity(account, { groupBy: ["device"], strong: true });
  assert.deepEqual(grouped.by, { device: { phone: 1, tv: 1 } });
  const state = async () => (await backend.status(account, { stream, strong: true })).state;
  assert.equal(await state(), "active");
  await backend.stop(account, stream);
  assert.equal(await state(), "stopped");
});

test("a throttled question states when it is answered: retryAfterMs", async () => {
  const account = newAccount();
  // Both workers throttle, and each throttled question gets a reply.
  const asked = Array.from({ length: 3 * site.perSecond }, () => backend.activity(account));
  const outcomes = await Promise.allSettled(asked);
  const throttled = outcomes.filter(({ status }) => status === "rejected").map((it) => it.reason);
  assert.ok(throttled.length > 0 && throttled.length < outcomes.length, `${throttled.length}`);
  for (const error of throttled) {
    assert.ok(error instanceof Rejected, error);
    assert.deepEqual([error.code, error.retryable], ["throttled", true]);
    assert.ok(Number.isInteger(error.retryAfterMs) && error.retryAfterMs > 0, error.retryAfterMs);
  }
  const last = Math.max(...throttled.map(({ retryAfterMs }) => retryAfterMs));
  await sleep(last);
  assert.equal((await backend.activity(account)).count, 0);
});

test("a batch carries the events of many accounts of one partition", async () => {
  const [first, ...others] = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const account = newAccount();
      return { account, reply: await backend.status(account) };
    }),
  );
  const { partition } = first.reply;
  const neighbours = [first, ...others.filter(({ reply }) => reply.partition === partition)];
  const streams = neighbours.map(({ account }) => ({ account, stream: crypto.randomUUID() }));
  const events = streams.map((event) => ({ kind: "heartbeat", ...event }));
  await backend.batch(first.reply, events);
  const counts = () =>
    Promise.all(
      streams.map(async ({ account }) => (await backend.activity(account, { strong: true })).count),
    );
  assert.deepEqual(await counts(), streams.map(() => 1));
  await backend.batch(first.reply, streams.map((event) => ({ kind: "stop", ...event })));
  assert.deepEqual(await counts(), streams.map(() => 0));
});

test("from a shell it prints what an account plays", async () => {
  const account = newAccount();
  const { stream } = await backend.open(account);
  const program = [`${import.meta.dirname}/backend.js`, site.tenant, account];
  const env = { AMQP_URL: site.urls.backend, STREAMWATCH_NAMESPACE: site.namespace };
  const { stdout } = await promisify(execFile)(process.execPath, program, { env });
  assert.equal(JSON.parse(stdout).streams[0].stream, stream);
});

test("an error is returned with its code", async () => {
  const wrong = backend.open(newAccount(), { stream: "not a UUID" });
  await assert.rejects(wrong, (error) => {
    assert.ok(error instanceof Rejected);
    assert.deepEqual([error.code, error.field, error.retryable], ["bad_field", "stream", false]);
    return true;
  });
});

test("a missing permission is reported, and the next try is made all the same", async (t) => {
  const stranger = new Backend(site.urls.backend, "other", { namespace: site.namespace });
  t.after(() => stranger.close());
  for (let attempt = 0; attempt < 2; attempt++) {
    const forbidden = stranger.activity(newAccount());
    await assert.rejects(forbidden, (error) => {
      assert.ok(error instanceof NoAnswer);
      assert.match(error.message, /ACCESS_REFUSED/);
      return true;
    });
  }
});

test("a request without a reply ends after its patience", async (t) => {
  const impatient = new Backend(site.urls.backend, site.tenant, {
    namespace: site.namespace,
    patienceMs: 1_000,
  });
  t.after(() => impatient.close());
  const account = newAccount();
  assert.equal((await impatient.activity(account)).count, 0);
  await withoutWorkers(async () => {
    const asked = Date.now();
    await assert.rejects(impatient.activity(account), NoAnswer);
    const waited = Date.now() - asked;
    assert.ok(waited >= 990 && waited < 5_000, `${waited} ms`);
  });
  await eventually(
    () => impatient.activity(account).then(({ count }) => count === 0, () => false),
    "it is answered again",
  );
});

test("it goes on when the broker is back, on the same object", async () => {
  const account = newAccount();
  const { stream } = await backend.open(account);
  await stopBroker();
  try {
    await assert.rejects(backend.activity(account), NoAnswer);
  } finally {
    await startBroker();
  }
  const state = () => backend.status(account, { stream, strong: true }).catch(() => ({}));
  const beat = async () => {
    await backend.heartbeat(account, stream).catch(() => {});
    return (await state()).state === "active";
  };
  await eventually(beat, "the stream counts");
});
