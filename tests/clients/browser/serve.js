// Serves the player page on loopback: plain files, no bundler, and nothing between page and broker.
//
//   node browser/serve.js settings.json --port 8080
//
// with settings.json: {"brokerURL": "ws://localhost:15674/ws", "vhost": "streamwatch", "tenant":
// "acme", "login": "streamwatch.acme.stomp-player", "passcode": "…", "maxActive": 1}
// or, over HTTP: {"edge": "http://localhost:8080", "application": "web", "maxActive": 1}
//
// A service of your own gives its page the address, and to each viewer a credential that is
// theirs and short-lived: see "Viewers by OAuth 2" in deploy/SECURE.md.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, normalize, resolve } from "node:path";
import { parseArgs } from "node:util";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { port: { type: "string", default: "0" } },
});
const settings = resolve(positionals[0] ?? "settings.json");
const clients = resolve(import.meta.dirname, "..");

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };
const FOLDERS = ["/browser/", "/javascript/", "/node_modules/@stomp/stompjs/esm6/"];

async function answer(request, response) {
  try {
    let path = normalize(new URL(request.url, "http://localhost").pathname);
    if (path === "/") path = "/browser/index.html";
    const type = TYPES[extname(path)];
    if (path === "/settings.json") {
      response.setHeader("content-type", "application/json");
      response.setHeader("cache-control", "no-store");
      return response.end(await readFile(settings));
    }
    if (!type || !FOLDERS.some((folder) => path.startsWith(folder))) throw new Error("not ours");
    const body = await readFile(clients + path);
    response.setHeader("content-type", `${type}; charset=utf-8`);
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
}

const server = createServer(answer).listen(Number(values.port), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/?account=alice&device=laptop`);
});
