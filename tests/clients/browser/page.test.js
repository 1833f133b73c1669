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

import { chromium } from "playwright-core";

import { eventually, newAccount, site, startBroker, stopBroker } from "../javascript/site.js";
import { Backend } from "../node/backend.js";

const PATIENCE_MS = 30_000;
// How often a tab is closed: a stop that is lost now and then would not be seen at once.
const CLOSED_TABS = 10;

const app = new Backend(site.urls.backend, site.tenant, { namespace: site.namespace });
let folder;
let server;
let address;
let chromiumServer;
let browser;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "page-"));
  await writeFile(join(folder, "settings.json"), JSON.stringify(site.page));
  server = spawn(
    process.execPath,
    [`${import.meta.dirname}/serve.js`, join(folder, "settings.json")],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  [address] = await once(createInterface(server.stdout), "line");
  // Its profile is new, and gone afterwards.
  chromiumServer = await chromium.launchServer({
    executablePath: site.chromium,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const connection = await chromium.connect(chromiumServer.wsEndpoint());
  browser = await connection.newContext({ viewport: { width: 1180, height: 680 } });
  browser.setDefaultTimeout(PATIENCE_MS);
});

after(async () => {
  await chromiumServer?.close();
  server?.kill();
  await app.close();
  await rm(folder, { recursive: true, force: true });
});

afterEach(async () => {
  await Promise.all(browser.pages().map((page) => page.close()));
});

/** A tab of its own with the player page. */
async function tab(account, device) {
  const page = await browser.newPage();
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
  await mkdir(process.env.SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
}

const streams = async (account) => (await app.activity(account, { strong: true })).streams;
const devices = async (account) => (await streams(account)).map((it) => it.metadata.device).sort();
const streamOf = (page) => page.textContent("#stream");

/** Waits until nobody plays, and returns how long that took. */
async function untilNobodyPlays(account) {
  const from = Date.now();
  await eventually(async () => (await devices(account)).length === 0, "nobody plays");
  return Date.now() - from;
}

test("a tab plays, is kept counted by its heartbeats, and stops counting on pause", async () => {
  const account = newAccount();
  const page = await playingTab(account, "laptop");
  const [opened] = await streams(account);
  assert.equal(opened.stream, await streamOf(page));
  assert.deepEqual([opened.admitted, opened.metadata], [true, { device: "laptop", platform: "web" }]);
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

  await laptop.click("text=Play here instead of on television");
  await shows(laptop, "#state", "playing");
  await shows(tv, "#state", "ended from elsewhere");
  await shows(tv, "#headline", "Another player took over");
  assert.deepEqual(await devices(account), ["laptop"]);
  assert.ok(await tv.$eval("#video", (video) => video.paused), "the film stands still");
  await shows(tv, "#activity li strong", "laptop");
  await screenshot(tv, "3-television-is-replaced");
  await screenshot(laptop, "4-laptop-plays");
  await laptop.setViewportSize({ width: 390, height: 844 });
  await screenshot(laptop, "5-laptop-on-a-narrow-screen");
});

test("the account's activity is shown live, whoever plays", async () => {
  const account = newAccount();
  const page = await tab(account, "laptop");
  await shows(page, "#count", "0");
  const { stream } = await app.open(account, { metadata: { device: "phone" } });
  await shows(page, "#count", "1");
  await shows(page, "#activity li strong", "phone");
  await app.stop(account, stream);
  await shows(page, "#count", "0");
});

test("what a device says of itself is shown as text, never as markup", async () => {
  const account = newAccount();
  const device = "<img src=x onerror=alert(1)>";
  const page = await tab(account, "laptop");
  await app.open(account, { metadata: { device } });
  await shows(page, "#activity li strong", device);
  assert.equal(await page.$("#activity img"), null);
});

test("a closed tab says that it stops: every one of them, at once", async () => {
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

test("a tab that goes to another page says that it stops, and is paused when it comes back", async () => {
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

test("a tab that is killed says nothing, and expires", async () => {
  const account = newAccount();
  const page = await playingTab(account, "laptop");
  const stream = await streamOf(page);
  const session = await browser.newCDPSession(page);
  const crashed = page.waitForEvent("crash");
  session.send("Page.crash").catch(() => {}); // it does not live to answer
  await crashed;
  assert.equal((await devices(account)).length, 1, "it still counts");
  const waited = await untilNobodyPlays(account);
  assert.ok(waited > site.ttlMs / 2, `${waited} ms`);
  assert.equal((await app.status(account, { stream, strong: true })).state, "expired");
});

test("a laptop that slept past its TTL counts again, as admitted, when it wakes up", async () => {
  const account = newAccount();
  const page = await playingTab(account, "laptop");
  const stream = await streamOf(page);
  // All processes of the browser stand still: they are a group of their own.
  const group = -chromiumServer.process().pid;
  process.kill(group, "SIGSTOP");
  try {
    await untilNobodyPlays(account);
  } finally {
    process.kill(group, "SIGCONT");
  }
  const [record] = await eventually(async () => {
    const found = await streams(account);
    return found.length > 0 && found;
  }, "it counts again");
  assert.deepEqual([record.stream, record.admitted], [stream, true]);
});

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
