-- Heartbeats of 100,000 streams in random order.
local STREAMS = 100000
bad = 0 -- global: `done` reads it from each thread

function request()
  local n = math.random(STREAMS)
  local path = string.format(
    "/api/v1/accounts/viewer-%d/streams/00000000-0000-4000-8000-%012x/heartbeat", n, n)
  return wrk.format("POST", path)
end

function response(status)
  if status ~= 204 then
    bad = bad + 1
  end
end

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function done(_, latency)
  local total = 0
  for _, thread in ipairs(threads) do
    total = total + (thread:get("bad") or 0)
  end
  io.write(string.format("percentiles %f %f %f\n", latency:percentile(50) / 1000,
    latency:percentile(90) / 1000, latency:percentile(99) / 1000))
  io.write(string.format("not204 %d\n", total))
end
