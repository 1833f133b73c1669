// A player in Node, from a shell: it plays until it is interrupted, or ended from elsewhere.
//
//   AMQP_URL=… node player.js acme alice --device tv --max-active 2
//   AMQP_URL=… node player.js acme alice --device tv --same device --on-limit replace_oldest \
//     --limits '[{"max": 2, "distinct": "device"}]'
//
// The logic is in `javascript/playback.js`, which also runs in browsers.

import { parseArgs } from "node:util";

import { Playback } from "../javascript/playback.js";
import { AmqpLink } from "./amqp.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    device: { type: "string", default: "node" },
    "max-active": { type: "string" },
    limits: { type: "string" },
    same: { type: "string", multiple: true },
    "on-limit": { type: "string" },
    replace: { type: "string", multiple: true },
  },
});
const [tenant, account] = positionals;

const link = new AmqpLink(process.env.AMQP_URL, tenant, {
  namespace: process.env.STREAMWATCH_NAMESPACE,
});
const playback = new Playback(link, account, {
  metadata: { device: values.device },
  maxActive: values["max-active"] && Number(values["max-active"]),
  limits: values.limits && JSON.parse(values.limits),
  same: values.same,
  onLimit: values["on-limit"],
  replace: values.replace,
});

const over = new Promise((resolve) => {
  playback.addEventListener("change", () => {
    const { type, reason, givenReason, activity } = playback.state;
    const { stream } = playback;
    console.log(JSON.stringify({ type, reason, givenReason, stream, count: activity?.count }));
    if (!playback.plays) resolve();
  });
});
// Sends the stop when the program is terminated, so that the stream ends at once.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => playback.stop());

await playback.open();
await over;
await playback.stop(); // waits for the broker to have it
await link.close();
