// A timer for tabs in the background. A browser slows the timers of a page that nobody sees, to one
// a second and later to one a minute, but not those of a worker. What no timer survives is a tab
// that is frozen, or a device that sleeps: so whoever uses this one compares the time of day.

const WORKER = "setInterval(() => postMessage(0), 250)";

export function byWorker(tick) {
  const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
  const worker = new Worker(address);
  URL.revokeObjectURL(address);
  worker.onmessage = tick;
  return () => worker.terminate();
}
