// A timer for tabs in the background. A browser slows the timers of a background page down to one a
// second and later to one a minute, but not those of a web worker. All timers stop in a frozen tab
// and on a sleeping device, so users of this timer must compare the time of day.

const WORKER = "setInterval(() => postMessage(0), 250)";

export function byWorker(tick) {
  const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
  const worker = new Worker(address);
  URL.revokeObjectURL(address);
  worker.onmessage = tick;
  return () => worker.terminate();
}
