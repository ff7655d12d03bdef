-- Prints the result of a wrk run for the driver. The argument is the number of pipelined requests.
function init(args)
  local depth = tonumber(args[1]) or 1
  if depth > 1 then
    local one = wrk.format("GET", nil, nil)
    local all = string.rep(one, depth)
    request = function() return all end
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "us": %d, "errors": %d, "p50": %.1f, "p99": %.1f, "p999": %.1f}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
