// The player page in a real browser, over HTTP, against a real edge, broker and workers.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { eventually, newAccount, site } from "../javascript/site.js";
import { Backend } from "../node/backend.js";
import { start } from "./chromium.js";

// How often a tab is closed: a stop that is lost now and then would not be seen at once.
const CLOSED_TABS = 5;

const app = new Backend(site.urls.backend, site.tenant, { namespace: site.namespace });
let folder;
let server;
let address;
let chromium;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "http-"));
  const settings = join(folder, "settings.json");
  await writeFile(settings, JSON.stringify({ ...site.edge, maxActive: 1 }));
  server = spawn(process.execPath, [`${import.meta.dirname}/serve.js`, settings], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  [address] = await once(createInterface(server.stdout), "line");
  chromium = await start(site.chromium, join(folder, "profile"));
  chromium.context.setDefaultTimeout(30_000);
});

after(async () => {
  await chromium?.close();
  server?.kill();
  await app.close();
  await rm(folder, { recursive: true, force: true });
});

async function shows(page, place, text) {
  const shown = async () => (await page.textContent(place)).trim() === text;
  await eventually(shown, `${place} shows ${text}`);
}

/** A tab of its own that has pressed play. */
async function tab(account, device) {
  const page = await chromium.context.newPage();
  page.on("pageerror", (error) => assert.fail(`the page of ${device}: ${error}`));
  const url = new URL(address);
  url.search = new URLSearchParams({ account, device });
  await page.goto(url.href);
  await page.click("#play");
  return page;
}

const devices = async (account) =>
  (await app.activity(account, { strong: true })).streams.map((it) => it.metadata.device);

test("a tab plays, another takes its place, and the first one ends", async () => {
  const account = newAccount();
  const television = await tab(account, "television");
  await shows(television, "#state", "playing");
  const laptop = await tab(account, "laptop");
  await shows(laptop, "#state", "refused");
  assert.deepEqual(await devices(account), ["television"]);
  await laptop.click("text=Play here instead of on television");
  await shows(laptop, "#state", "playing");
  await shows(television, "#state", "ended from elsewhere");
  assert.deepEqual(await devices(account), ["laptop"]);
  await laptop.click("#pause");
  await shows(laptop, "#state", "paused");
  await eventually(async () => (await devices(account)).length === 0, "no stream is active");
});

test("a closed tab stops counting at once", async () => {
  const account = newAccount();
  for (let closed = 0; closed < CLOSED_TABS; closed++) {
    const page = await tab(account, "laptop");
    await shows(page, "#state", "playing");
    const from = Date.now();
    await page.close({ runBeforeUnload: false });
    await eventually(async () => (await devices(account)).length === 0, "no stream is active");
    assert.ok(Date.now() - from < site.ttlMs / 2, "by its stop, not by its TTL");
  }
});

/** The statement in deploy/EDGE.md that stops a stream, for an application without a secret. */
async function documentedBeacon() {
  const page = await readFile(`${import.meta.dirname}/../../../deploy/EDGE.md`, "utf8");
  const [, statement] = /```js\n(navigator\.sendBeacon[^]*?)```/.exec(page);
  const token = "{ access_token: token }";
  assert.ok(statement.includes(token), statement);
  return statement.replace(token, "{ application }");
}

test("the documented beacon stops the stream of a page that is left, reloaded or closed", async () => {
  const beacon = await documentedBeacon();
  const leave = {
    left: (page) => page.goto("about:blank"),
    reloaded: (page) => page.reload(),
    closed: (page) => page.close(),
  };
  for (const [how, go] of Object.entries(leave)) {
    const account = `Zoë/${newAccount()}`;
    const { stream } = await app.open(account, { metadata: { device: how } });
    const page = await chromium.context.newPage();
    await page.goto(address);
    await page.evaluate(
      ({ beacon, ...names }) => {
        const send = new Function(...Object.keys(names), beacon);
        addEventListener("pagehide", () => send(...Object.values(names)));
      },
      { beacon, ...site.edge, account: encodeURIComponent(account), stream },
    );
    assert.deepEqual(await devices(account), [how]);
    const from = Date.now();
    await go(page);
    await eventually(async () => (await devices(account)).length === 0, `${how}: nobody plays`);
    assert.ok(Date.now() - from < site.ttlMs / 2, "by its stop, not by its TTL");
    assert.equal((await app.status(account, { stream, strong: true })).state, "stopped");
    if (how !== "closed") await page.close();
  }
});

test("a tab that goes to another page stops its stream", async () => {
  const account = newAccount();
  const page = await tab(account, "laptop");
  await shows(page, "#state", "playing");
  const stream = await page.textContent("#stream");
  await page.goto("about:blank");
  await eventually(async () => (await devices(account)).length === 0, "no stream is active");
  assert.equal((await app.status(account, { stream, strong: true })).state, "stopped");
  await page.close();
});

test("a tab in the background goes on counting, though the browser slows its timers", async () => {
  const account = newAccount();
  const page = await tab(account, "laptop");
  await shows(page, "#state", "playing");
  const stream = await page.textContent("#stream");
  await chromium.context.pages()[0].bringToFront();
  assert.ok(await page.evaluate(() => document.hidden));
  const until = Date.now() + 3 * site.ttlMs;
  while (Date.now() < until) {
    const { state } = await app.status(account, { stream, strong: true });
    assert.equal(state, "active");
    await sleep(site.heartbeatEveryMs / 4);
  }
  await page.close();
});
