// The environment of the tests: a real broker and real workers, which `python/javascript.py`
// starts and describes in STREAMWATCH_SITE.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export const site = JSON.parse(process.env.STREAMWATCH_SITE);

/** An account of this test alone. */
export const newAccount = () => `js-${crypto.randomUUID()}`;

/** Waits until the condition holds, and returns its value. */
export async function eventually(condition, what, withinMs = 30_000) {
  const deadline = Date.now() + withinMs;
  let value;
  while (!(value = await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(50);
  }
  return value;
}

/** Resolves when the player's state is of this type. */
export async function becomes(playback, type) {
  await eventually(
    () => playback.state.type === type,
    `${type}; it is ${JSON.stringify(playback.state)}`,
  );
  return playback.state;
}

export const stopBroker = () => privateNode("stop");
export const startBroker = () => privateNode("start");

async function privateNode(verb) {
  // No pipe: a broker that kept it open would keep us waiting.
  const child = spawn(site.privateNode, [verb, site.brokerFolder], { stdio: "ignore" });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`private-node ${verb} exits with ${code}`);
}

/** Freezes the workers meanwhile. */
export async function withoutWorkers(during) {
  for (const pid of site.workers) process.kill(pid, "SIGSTOP");
  try {
    // The kernel stops one thread after another.
    await eventually(() => site.workers.every(standsStill), "the workers stand still");
    return await during();
  } finally {
    for (const pid of site.workers) process.kill(pid, "SIGCONT");
  }
}

function standsStill(pid) {
  const threads = `/proc/${pid}/task`;
  const states = readdirSync(threads).map((thread) => {
    const stat = readFileSync(`${threads}/${thread}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2)[0]; // behind the name, whatever is in it
  });
  return states.every((state) => state === "T");
}
