// The player page in a real browser, over RabbitMQ's Web STOMP, against real workers.
//
// SCREENSHOTS names a folder for pictures of both tabs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { eventually, newAccount, site, startBroker, stopBroker } from "../javascript/site.js";
import { Backend } from "../node/backend.js";
import { start } from "./chromium.js";

const PATIENCE_MS = 30_000;
// How often a tab is closed: a stop that is lost now and then would not be seen at once.
const CLOSED_TABS = 10;

const app = new Backend(site.urls.backend, site.tenant, { namespace: site.namespace });
let folder;
let server;
let address;
let chromium;
let tabs;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "page-"));
  await writeFile(join(folder, "settings.json"), JSON.stringify(site.page));
  server = spawn(
    process.execPath,
    [`${import.meta.dirname}/serve.js`, join(folder, "settings.json")],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  [address] = await once(createInterface(server.stdout), "line");
  chromium = await start(site.chromium, join(folder, "profile"));
  tabs = chromium.context;
  tabs.setDefaultTimeout(PATIENCE_MS);
});

after(async () => {
  await chromium?.close();
  server?.kill();
  await app.close();
  await rm(folder, { recursive: true, force: true });
});

// One tab stays, or the browser ends with the last one.
afterEach(async () => {
  await Promise.all(tabs.pages().slice(1).map((page) => page.close()));
});

/** A tab of its own with the player page. */
async function tab(account, device) {
  const page = await tabs.newPage();
  page.on("pageerror", (error) => assert.fail(`the page of ${device}: ${error}`));
  const url = new URL(address);
  url.search = new URLSearchParams({ account, device });
  await page.goto(url.href);
  await shows(page, "#link", "connected");
  return page;
}

/** A tab that plays. */
async function playingTab(account, device) {
  const page = await tab(account, device);
  await page.click("#play");
  await shows(page, "#state", "playing");
  return page;
}

async function shows(page, place, text) {
  await eventually(
    async () => (await page.textContent(place)).trim() === text,
    `${place} shows ${text}`,
  );
}

async function screenshot(page, name) {
  if (!process.env.SCREENSHOTS) return;
  await page.bringToFront();
  await mkdir(process.env.SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
}

const streams = async (account) => (await app.activity(account, { strong: true })).streams;
const devices = async (account) => (await streams(account)).map((it) => it.metadata.device).sort();
const streamOf = (page) => page.textContent("#stream");

/** Waits until the account has no active stream, and returns the time that it took. */
async function untilNobodyPlays(account) {
  const from = Date.now();
  await eventually(async () => (await devices(account)).length === 0, "no stream is active");
  return Date.now() - from;
}

test("a tab plays, is kept counted by its heartbeats, and stops counting on pause", async () => {
  const account = newAccount();
  const page = await playingTab(account, "laptop");
  const [opened] = await streams(account);
  assert.equal(opened.stream, await streamOf(page));
  assert.equal(opened.admitted, true);
  assert.deepEqual(opened.metadata, { device: "laptop", platform: "web" });
  const later = async () => Date.parse((await streams(account))[0].last_seen);
  const aTtlLater = Date.parse(opened.last_seen) + 1.5 * site.ttlMs;
  await eventually(async () => (await later()) > aTtlLater, "heartbeats for longer than the TTL");
  assert.ok(await page.$eval("#video", (video) => !video.paused), "the film runs");
  await page.click("#pause");
  await shows(page, "#state", "paused");
  assert.ok((await untilNobodyPlays(account)) < site.ttlMs / 2, "by its stop, not by its TTL");
});

test("a second tab is refused, takes over, and the first sees that it was replaced", async () => {
  const account = `Zoë: ${newAccount().slice(0, 8)}`;
  const tv = await playingTab(account, "television");
  const laptop = await tab(account, "laptop");
  await laptop.click("#play");
  await shows(laptop, "#state", "refused");
  await shows(laptop, "#headline", "Already playing elsewhere");
  assert.deepEqual(await devices(account), ["television"]);
  await screenshot(tv, "1-television-plays");
  await screenshot(laptop, "2-laptop-is-refused");

  await laptop.bringToFront();
  await laptop.click("text=Play here instead of on television");
  await shows(laptop, "#state", "playing");
  await shows(tv, "#state", "ended from elsewhere");
  await shows(tv, "#headline", "Another player took over");
  assert.deepEqual(await devices(account), ["laptop"]);
  assert.ok(await tv.$eval("#video", (video) => video.paused), "the film stands still");
  // It asks when it is seen again.
  await tv.bringToFront();
  await shows(tv, "#activity li strong", "laptop");
  await screenshot(tv, "3-television-is-replaced");
  await screenshot(laptop, "4-laptop-plays");
  await laptop.setViewportSize({ width: 390, height: 844 });
  await screenshot(laptop, "5-laptop-on-a-narrow-screen");
});

test("over STOMP too a retry with the same message id gets the same decision", async () => {
  const account = newAccount();
  const page = await tab(account, "laptop");
  const { stream: other } = await app.open(account);
  const stream = crypto.randomUUID();
  const init = (messageId) =>
    page.evaluate(
      async ({ settings, body, messageId }) => {
        const { StompLink } = await import("/browser/stomp.js");
        const link = new StompLink(settings);
        await new Promise((resolve) => link.addEventListener("up", resolve, { once: true }));
        const { type } = await link.request("init", body, { messageId });
        await link.close();
        return type;
      },
      { settings: site.page, body: { account, stream, max_active: 1 }, messageId },
    );
  const messageId = crypto.randomUUID();
  assert.equal(await init(messageId), "refused");
  await app.stop(account, other);
  assert.equal(await init(messageId), "refused");
  assert.equal(await init(crypto.randomUUID()), "opened");
});

test("the account's activity is shown live, for all devices", async () => {
  const account = newAccount();
  const page = await tab(account, "laptop");
  await shows(page, "#count", "0");
  const { stream } = await app.open(account, { metadata: { device: "phone" } });
  await shows(page, "#count", "1");
  await shows(page, "#activity li strong", "phone");
  await app.stop(account, stream);
  await shows(page, "#count", "0");
});

test("metadata of a device is shown as text, never as markup", async () => {
  const account = newAccount();
  const device = "<img src=x onerror=alert(1)>";
  const page = await tab(account, "laptop");
  await app.open(account, { metadata: { device } });
  await shows(page, "#activity li strong", device);
  assert.equal(await page.$("#activity img"), null);
});

test("each closed tab sends its stop at once", async () => {
  const account = newAccount();
  const waits = [];
  for (let n = 0; n < CLOSED_TABS; n++) {
    const page = await playingTab(account, "laptop");
    const stream = await streamOf(page);
    await page.close();
    waits.push(await untilNobodyPlays(account));
    assert.equal((await app.status(account, { stream, strong: true })).state, "stopped");
  }
  assert.ok(Math.max(...waits) < site.ttlMs / 2, `by their stops, not by their TTL: ${waits} ms`);
});

test("a tab that goes to another page stops, and may play again when it comes back", async () => {
  const account = newAccount();
  const page = await playingTab(account, "laptop");
  const stream = await streamOf(page);
  await page.goto("about:blank");
  await untilNobodyPlays(account);
  assert.equal((await app.status(account, { stream, strong: true })).state, "stopped");
  await page.goBack();
  await shows(page, "#link", "connected");
  await page.click("#play");
  await shows(page, "#state", "playing");
  assert.notEqual(await streamOf(page), stream);
});

test("a killed tab sends no stop and expires", async () => {
  const account = newAccount();
  const page = await playingTab(account, "laptop");
  const stream = await streamOf(page);
  const session = await tabs.newCDPSession(page);
  const crashed = page.waitForEvent("crash");
  session.send("Page.crash").catch(() => {}); // it does not live to answer
  await crashed;
  assert.equal((await devices(account)).length, 1, "it still counts");
  const waited = await untilNobodyPlays(account);
  assert.ok(waited > site.ttlMs / 2, `${waited} ms`);
  assert.equal((await app.status(account, { stream, strong: true })).state, "expired");
});

test("a tab in the background goes on counting, though the browser slows its timers", async () => {
  const account = newAccount();
  const page = await playingTab(account, "laptop");
  const stream = await streamOf(page);
  await page.evaluate(() => {
    window.fired = 0;
    setInterval(() => window.fired++, 100);
  });
  await tabs.pages()[0].bringToFront();
  assert.ok(await page.evaluate(() => document.hidden));
  const until = Date.now() + 3 * site.ttlMs;
  while (Date.now() < until) {
    const state = await app.status(account, { stream, strong: true });
    assert.equal(state.state, "active");
    await sleep(site.heartbeatEveryMs / 4);
  }
  const fired = await page.evaluate(() => window.fired);
  assert.ok(fired < (3 * site.ttlMs) / 100 / 4, `the browser does slow it: ${fired} times`);
});

test("a frozen tab expires, and when it wakes up it counts again, as admitted", async () => {
  const { account, stream, session } = await frozenTab();
  await session.send("Page.setWebLifecycleState", { state: "active" });
  const [record] = await eventually(async () => {
    const found = await streams(account);
    return found.length > 0 && found;
  }, "it counts again");
  assert.deepEqual([record.stream, record.admitted], [stream, true]);
});

test("a tab whose place was taken while it was frozen is refused when it wakes up", async () => {
  const { account, page, session } = await frozenTab();
  await app.open(account, { metadata: { device: "phone" } });
  await session.send("Page.setWebLifecycleState", { state: "active" });
  await page.bringToFront();
  await shows(page, "#state", "refused");
  assert.deepEqual(await devices(account), ["phone"]);
});

/** A tab that was frozen in the background, as browsers do to save power, until it expired. */
async function frozenTab() {
  const account = newAccount();
  const page = await playingTab(account, "laptop");
  const stream = await streamOf(page);
  const session = await tabs.newCDPSession(page);
  await tabs.pages()[0].bringToFront();
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  await untilNobodyPlays(account);
  return { account, page, stream, session };
}

test("a restart of the broker stops no film, and the tab goes on counting", async () => {
  const account = newAccount();
  const page = await playingTab(account, "laptop");
  const [before] = await streams(account);
  await stopBroker();
  try {
    await shows(page, "#link", "not connected");
    assert.equal(await page.textContent("#state"), "playing");
    assert.ok(await page.$eval("#video", (video) => !video.paused), "the film runs");
  } finally {
    await startBroker();
  }
  await shows(page, "#link", "connected");
  const seen = async () => {
    const [record] = await streams(account).catch(() => []);
    return record?.stream === before.stream && record.last_seen > before.last_seen;
  };
  await eventually(seen, "a heartbeat after the restart");
  assert.equal(await page.textContent("#state"), "playing");
});
