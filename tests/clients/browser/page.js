// The player page: what it shows, and when it opens and ends its stream.
//
// Copy `play`, `pause` and the listeners at the end; the rest draws the page.

import { HttpLink } from "../javascript/http.js";
import { Playback } from "../javascript/playback.js";
import { film } from "./film.js";
import { StompLink } from "./stomp.js";
import { byWorker } from "./ticks.js";

const ASK_EVERY_MS = 2_000;
const MOST_NOTICES = 6;

const $ = (id) => document.getElementById(id);
const settings = await (await fetch("/settings.json")).json();
const asked = new URLSearchParams(location.search);
const account = asked.get("account") ?? "alice";
const device = asked.get("device") ?? "browser";

// By an edge, or by RabbitMQ's Web STOMP.
const link = settings.edge ? new HttpLink(settings) : new StompLink(settings);
// The current stream. Each press of play starts a new one.
let playback;

async function play(replace) {
  playback = new Playback(link, account, {
    metadata: { device, platform: "web" },
    maxActive: settings.maxActive,
    limits: settings.limits,
    // After a reload or a crash, the tab takes its own place.
    same: settings.limits && ["device", "platform"],
    replace,
    ticks: byWorker,
  });
  playback.addEventListener("change", show);
  playback.addEventListener("rejected", ({ detail }) => notice(`Rejected: ${detail.message}`));
  show();
  // Takes at most 2 s. Without a reply the film starts, and its heartbeats take effect.
  await playback.open();
}

/** Pausing ends the stream at once. Resuming opens a new stream, which may be refused. */
function pause() {
  playback?.stop();
}

// The page

const STATES = {
  asking: ["asking", ""],
  unanswered: ["playing, not answered yet", "warn"],
  opened: ["playing", "good"],
  refused: ["refused", "bad"],
  stopped: ["ended from elsewhere", "bad"],
  over: ["paused", ""],
};
const REASONS = {
  replaced: "Another player took over",
  stopped: "Playback was ended from elsewhere",
  too_old: "Playback has lasted too long",
};

function show() {
  const { type, reason, givenReason, conflicts, activity } = playback.state;
  const runs = type === "opened" || type === "unanswered";
  const [text, mood] = STATES[type];
  badge("state", text, mood);
  $("stream").textContent = playback.stream;
  $("pause").disabled = !runs;
  $("play").disabled = type === "asking";
  $("curtain").hidden = runs;
  $("choices").replaceChildren();
  $("play").className = "primary";
  if (runs) $("video").play();
  else $("video").pause();

  if (type === "asking") curtain("One moment …", "");
  if (type === "over") curtain("Paused", "This tab does not count while it is paused.", "Play on");
  if (type === "stopped") {
    const detail = givenReason ?? "This stream does not count any more.";
    curtain(REASONS[reason] ?? reason, detail, "Play here again");
  }
  if (type === "refused") {
    const [headline, detail] = whyRefused(reason, activity);
    curtain(headline, detail, "Try again");
    if (conflicts) offerPlaces(inTheWay(conflicts, activity.streams));
  }
  notice(said(playback.state));
  if (activity) showActivity(activity);
  else ask();
}

function said({ type, reason, activity }) {
  if (type === "opened") return `Playing; ${activity.count} on this account`;
  if (type === "stopped") return REASONS[reason] ?? reason;
  if (type === "refused") return `Refused: ${reason}`;
  return STATES[type][0].replace(/^./, (first) => first.toUpperCase());
}

function whyRefused(reason, { count }) {
  const byLimit = reason === "max_active" || reason === "limits";
  if (!byLimit) return ["Not possible right now", `The reason is ${reason}.`];
  const players = count === 1 ? "One other player is" : `${count} other players are`;
  return ["Already playing elsewhere", `${players} on. Take a place over, or wait until one ends.`];
}

/** The active streams in the way of the first exceeded limit. */
function inTheWay([{ streams }], active) {
  return active.filter(({ stream }) => streams.includes(stream));
}

/** Shows a button for each of these streams that replaces it in one step. */
function offerPlaces(streams) {
  const choices = streams.map(({ stream, metadata, started_at }) => {
    const button = document.createElement("button");
    button.className = "primary";
    button.textContent = `Play here instead of on ${metadata?.device ?? "another device"}`;
    button.title = `It plays since ${clock(started_at)}`;
    button.addEventListener("click", () => play([stream]));
    return listItem(button);
  });
  $("choices").replaceChildren(...choices);
  $("play").className = "";
}

function curtain(headline, detail, button = "Play") {
  $("headline").textContent = headline;
  $("detail").textContent = detail;
  $("play").textContent = button;
}

function showActivity({ count, streams, as_of }) {
  $("count").textContent = count;
  $("activity").replaceChildren(
    ...streams.map(({ stream, metadata, started_at, expires_in_ms }) => {
      const name = document.createElement("strong");
      name.textContent = metadata?.device ?? "unknown device";
      const since = document.createElement("small");
      const left = Math.ceil(expires_in_ms / 1_000);
      since.textContent = `since ${clock(started_at)}, ends in ${left} s if silent`;
      const item = listItem(name, document.createElement("br"), since);
      if (stream === playback?.stream) item.className = "here";
      return item;
    }),
  );
  $("asof").textContent = `${account}, as of ${clock(as_of)}`;
}

/** Requests the activity, unless the page is in the background. */
async function ask() {
  if (document.hidden || !link.up) return;
  try {
    showActivity((await link.request("status", { account }, { patienceMs: ASK_EVERY_MS })).activity);
  } catch {
    $("asof").textContent = "The monitor does not answer; this may be old.";
  }
}

function notice(text) {
  const time = document.createElement("time");
  time.textContent = clock(new Date());
  $("notices").prepend(listItem(time, text));
  while ($("notices").children.length > MOST_NOTICES) $("notices").lastChild.remove();
}

function badge(id, text, mood) {
  $(id).textContent = text;
  $(id).className = `badge ${mood}`;
}

// Text only: metadata of other devices never becomes markup.
function listItem(...content) {
  const item = document.createElement("li");
  item.append(...content);
  return item;
}

const clock = (moment) => new Date(moment).toLocaleTimeString("en-GB");

// When it all happens

$("who").textContent = `${account} on ${device}`;
document.title = `${device} · ${account}`;
$("video").srcObject = film(device);
$("play").addEventListener("click", () => play());
$("pause").addEventListener("click", pause);

link.addEventListener("up", () => {
  badge("link", "connected", "good");
  ask();
});
link.addEventListener("down", ({ detail }) => {
  badge("link", "not connected", "warn");
  notice(`Connection lost: ${detail}`);
});
setInterval(ask, ASK_EVERY_MS);

// The last event before the page closes; phones do not send `unload` and `beforeunload`.
addEventListener("pagehide", pause);
// After sleep or in the foreground again: sends a heartbeat now, as timers may have been suspended.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  playback?.beat();
  ask();
});
