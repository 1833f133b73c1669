// A Chromium as people have it, without a screen: for the tests of the page.
//
// It is started here and not by Playwright, whose switches keep tabs in the background as fast as
// those in front: how a player fares there is one of the questions.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const SWITCHES = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--window-size=1180,760",
  "--remote-debugging-port=0", // a free one, on loopback
  // A tab in the background wakes up once a minute: after a second there, not after five minutes.
  "--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1",
];

/** Starts it with a profile in `folder`; `context` opens its tabs. */
export async function start(program, folder) {
  const child = spawn(program, [...SWITCHES, `--user-data-dir=${folder}`, "about:blank"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const browser = await chromium.connectOverCDP(await address(child), { noDefaults: true });
  return {
    context: browser.contexts()[0],
    async close() {
      const ended = once(child, "exit");
      const session = await browser.newBrowserCDPSession();
      session.send("Browser.close").catch(() => {}); // it may end before it answers
      await ended;
    },
  };
}

/** Reads the address from Chromium's standard error, and drains the rest of it. */
function address(child) {
  return new Promise((resolve, reject) => {
    createInterface(child.stderr).on("line", (line) => {
      const found = /DevTools listening on (ws:\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`chromium exits with ${code}`)));
  });
}
