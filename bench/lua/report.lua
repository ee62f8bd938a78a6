-- Prints what wrk found as one line of JSON.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "rps": %.0f, "p50_us": %d, "p99_us": %d, "p999_us": %d, "errors": %d, "wrong": %d}\n',
    summary.requests, summary.requests * 1e6 / summary.duration,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
