// The player page in a real browser, over HTTP, against a real edge, broker and workers.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

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
