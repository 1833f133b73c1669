// A timer for tabs in the background: a browser slows the timers of a page that nobody sees, to one
// a minute, but not those of a worker. What it cannot help is a tab that is frozen, or a device that
// sleeps: so whoever uses it compares the time, and the page beats once more when it is seen again.

const WORKER = "setInterval(() => postMessage(0), 250)";

export function byWorker(tick) {
  const address = URL.createObjectURL(new Blob([WORKER], { type: "text/javascript" }));
  const worker = new Worker(address);
  URL.revokeObjectURL(address);
  worker.onmessage = tick;
  return () => worker.terminate();
}
