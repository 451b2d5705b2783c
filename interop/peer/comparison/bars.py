"""The bars, and the results compared with them."""
import statistics
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """One line of the table. `sense` is +1 where more is better, -1 where less is."""

    name: str
    unit: str
    ours: list
    bar: float | None
    sense: int
    # Results of the published node, or a text.
    theirs: object = None
    limit: float | None = None

    def median(self):
        return _median(self.ours)

    def met(self):
        """True, False, or None where nothing was measured or nothing is asked for."""
        if self.bar is None or self.median() is None:
            return None
        return self.sense * self.median() >= self.sense * self.bar


CUT_OFF = "does not finish"


def table(results):
    """All lines, in the order of the page."""
    collect = _Collector(results)
    return [bar for part in (_core, _ingest, _publish, _catch_up, _no_op, _live, _rest)
            for bar in part(collect)]


class _Collector:
    def __init__(self, results):
        self.results = results

    def ours(self, key, name, factor=1, **where):
        return [value * factor for value in self.results.values("ours", key, name, **where)]

    def theirs(self, key, name, factor=1, **where):
        if self.results.cut_off("theirs", key):
            return CUT_OFF
        values = self.results.values("theirs", key, name, **where)
        return [value * factor for value in values] or None

    def per(self, key, name, of, side="ours"):
        """One field over another, run by run."""
        values = self.results.values(side, key, name)
        others = self.results.values(side, key, of)
        if side == "theirs" and self.results.cut_off(side, key):
            return CUT_OFF
        return [value / other for value, other in zip(values, others) if other]


def _core(c):
    raw = c.results.limit("limit-verify")
    rates = c.theirs("core", "operations_per_s", workload="core-decode-verify")
    theirs = [raw / rate for rate in rates] if raw and isinstance(rates, list) else None
    yield Bar("decode and verify, 100 B, cold key, of the raw verification", "×",
              c.ours("core", "of_limit", workload="core-decode-verify"), 1.08, -1, theirs, 1)
    two = {"workload": "core-decode-verify-2-threads"}
    yield Bar("decode and verify on two threads, of one", "×",
              c.ours("core", "speed_up", **two), 1.9, 1, None,
              _median(c.ours("core", "limit_speed_up", **two)))
    raw = c.results.limit("limit-sign")
    rates = c.theirs("core", "operations_per_s", workload="core-create")
    theirs = [raw / rate for rate in rates] if raw and isinstance(rates, list) else None
    yield Bar("create, sign, encode, of the raw signature", "×",
              c.ours("core", "of_limit", workload="core-create"), 1.1, -1, theirs, 1)


def _ingest(c):
    insert = c.results.limit("limit-sqlite-insert", payload_bytes=100)
    verify = c.results.limit("limit-verify")
    limit = 1 / (1 / insert + 1 / verify) * 2 if insert and verify else None
    rates = {}
    for name, bar in [("0", 26e3), ("10k", 26e3), ("100k", 26e3), ("1m", 20e3)]:
        rates[name] = c.ours(f"import-{name}", "operations_per_s")
        theirs = c.theirs(f"import-{name}", "operations_per_s")
        yield Bar(f"ingest with {name} stored", "/s", rates[name], bar, 1, theirs, limit)
    middle = {name: _median(values) for name, values in rates.items() if values}
    first = [middle[name] for name in ("0", "10k", "100k") if name in middle]
    even = [min(first) / max(first)] if len(first) == 3 else []
    yield Bar("ingest, slowest of the first three, of the fastest", "×", even, 0.8, 1)
    last = [middle["1m"] / middle["0"]] if {"0", "1m"} <= middle.keys() else []
    yield Bar("ingest with 1m stored, of that with none", "×", last, 0.65, 1)


def _publish(c):
    commit = c.results.limit("limit-commit")
    rates = c.ours("publish", "operations_per_s")
    theirs = c.theirs("publish", "operations_per_s")
    yield Bar("publish awaited, 10k stored", "/s", rates, None, 1, theirs, commit)
    part = c.results.per_limit("ours", "publish", "limit-commit")
    theirs = c.results.per_limit("theirs", "publish", "limit-commit") or None
    yield Bar("publish awaited, of the machine's commits", "×", part, 0.6, 1, theirs, 1)
    yield Bar("publish, 64 in flight, 10k stored", "/s",
              c.ours("publish-64", "operations_per_s"), 15e3, 1)
    yield Bar("publish, 1 000 at once, of the machine's signatures", "×",
              c.ours("publish-1000-at-once", "of_signatures"), 0.55, 1)


def _catch_up(c):
    rate = catch_up_limit(c.results, 100)
    bars = [("1k", 1_000, 0.12), ("10k", 10_000, 0.5), ("100k", 100_000, 5), ("1m", 10**6, None)]
    for name, n, bar in bars:
        key = f"catch-up-{name}"
        yield Bar(f"catch-up of {name}, 100 B", "s", c.ours(key, "seconds"), bar, -1,
                  c.theirs(key, "seconds"), n / rate if rate else None)
    part = [_median(c.ours(key, "seconds")) for key in ("catch-up-1m", "catch-up-100k")]
    part = [part[0] / part[1]] if None not in part else []
    yield Bar("catch-up of 1m, of that of 100k", "×", part, 11.2, -1)
    rate = catch_up_limit(c.results, 1024)
    for name, n, bar in [("1k", 1_000, None), ("10k", 10_000, None), ("100k", 100_000, 7)]:
        key = f"catch-up-1kib-{name}"
        yield Bar(f"catch-up of {name}, 1 KiB", "s", c.ours(key, "seconds"), bar, -1,
                  c.theirs(key, "seconds"), n / rate if rate else None)
    for name in ["10k", "100k"]:
        yield Bar(f"catch-up of {name} each way at once", "s",
                  c.ours(f"catch-up-both-{name}", "seconds"), None, -1)
    yield Bar("wire of a catch-up of 100k, of header and body", "×",
              c.per("catch-up-100k", "wire_bytes", "content_bytes"), 1.12, -1,
              c.per("catch-up-500", "wire_bytes", "content_bytes", "theirs"), 1)
    mb = 1e-6
    for name, field in [("receiver", "above_idle_bytes"), ("sender", "sender_above_idle_bytes")]:
        yield Bar(f"memory above idle in catch-up of 1m, {name}", "MB",
                  c.ours("memory-1m", field, mb), 40, -1, c.theirs("catch-up-100k", field, mb))
    for key, bar in [("catch-up-100k", 1.45), ("catch-up-1kib-100k", 1.2)]:
        size = "1 KiB" if "kib" in key else "100 B"
        small = "catch-up-1kib-1k" if "kib" in key else "catch-up-1k"
        yield Bar(f"disk after a clean close, {size}, of header and body", "×",
                  c.per(key, "disk_bytes", "content_bytes"), bar, -1,
                  c.per(small, "disk_bytes", "content_bytes", "theirs"), 1)


def _no_op(c):
    ms = 1e3
    yield Bar("no-op sync of one log: stream payload", "B",
              c.ours("no-op", "stream_bytes"), 400, -1)
    yield Bar("no-op sync of one log: wire from process start", "kB",
              c.ours("no-op", "wire_bytes", 1e-3), 90, -1, c.theirs("no-op", "wire_bytes", 1e-3))
    yield Bar("no-op sync of one log: connection to Done both ways", "ms",
              c.ours("no-op", "connection_to_done_seconds", ms), 20, -1,
              c.theirs("no-op", "ready_to_done_seconds", ms))
    for lacks, bar in [(0, 100), (10, 150)]:
        key = f"thousand-logs-{lacks}"
        yield Bar(f"1 000 logs, {lacks} operations missing: session", "ms",
                  c.ours(key, "session_to_done_seconds", ms), bar, -1,
                  c.theirs(key, "ready_to_done_seconds", ms))
        kilobytes = {0: 145, 10: 155}[lacks]
        yield Bar(f"1 000 logs, {lacks} operations missing: stream payload", "kB",
                  c.ours(key, "stream_bytes", 1e-3), kilobytes, -1)
    yield Bar("1 000 logs equal, our own protocol: stream payload", "kB",
              c.ours("thousand-logs-digest", "stream_bytes", 1e-3), 1, -1)


def _live(c):
    for part, without in [("p50", 0.7), ("p99", 2.0)]:
        commit = c.results.limit("limit-commit-paced", f"wait_ms.{part}")
        request = c.results.limit("limit-quic-request-paced", f"wait_ms.{part}")
        bar = without + commit if commit else None
        limit = commit + request / 2 if commit and request else None
        yield Bar(f"live, publish to remote application, {part} (bar: {without} with a commit)",
                  "ms", c.ours("live", f"latency_ms.{part}"), bar, -1,
                  c.theirs("live", f"latency_ms.{part}"), limit)
    yield Bar("live, sustained", "/s", c.ours("live-rate", "operations_per_s"), 8e3, 1,
              c.theirs("live-rate", "operations_per_s"))
    yield Bar("fan-out to 8 nodes, each message to all", "/s",
              c.ours("fan-out", "operations_per_s"), None, 1)


def _rest(c):
    ms = 1e3
    read = c.results.limit("limit-sqlite-read", payload_bytes=100)
    yield Bar("replay of 100k: whole", "s", c.ours("replay-100k", "seconds"), 0.5, -1,
              c.theirs("replay-100k", "seconds"), 1e5 / read if read else None)
    yield Bar("replay of 100k: first message", "ms", c.ours("replay-100k", "first_seconds", ms),
              20, -1, c.theirs("replay-100k", "first_seconds", ms))
    yield Bar("replay of 1m: whole", "s", c.ours("replay-1m", "seconds"), None, -1, None,
              1e6 / read if read else None)
    yield Bar("replay of 1m: first message", "ms", c.ours("replay-1m", "first_seconds", ms),
              None, -1)
    yield Bar("open with 1m stored", "ms", c.ours("open-1m", "open_seconds", ms), 30, -1,
              c.theirs("replay-100k", "open_seconds", ms))
    yield Bar("open with 1m stored: a warm peer has the heights, from start", "ms",
              c.ours("open-1m", "heights_seconds", ms), 60, -1)
    yield Bar("idle with one peer: processor", "% of a core", c.ours("idle", "of_a_core", 100),
              0.5, -1, c.theirs("idle", "idle_cpu_seconds", 10))
    yield Bar("idle with one peer: resident", "MB", c.ours("idle", "rss_bytes", 1e-6), 35, -1,
              c.theirs("idle", "rss_bytes", 1e-6))
    yield Bar("1 000 topics: all caught up, from start", "s", c.ours("topics", "seconds"), None, -1)
    yield Bar("explicit acknowledgements, one by one", "/s", c.ours("acks", "operations_per_s"),
              None, 1, None, c.results.limit("limit-commit"))
    yield Bar("explicit acknowledgements, 64 in flight", "/s",
              c.ours("acks-64", "operations_per_s"), None, 1)


def catch_up_limit(results, payload_bytes):
    """Operations per second that two cores can do at most: verify and insert each once, and move
    them over QUIC, which takes a core on each side."""
    insert = results.limit("limit-sqlite-insert", payload_bytes=payload_bytes)
    verify = results.limit("limit-verify")
    each = 1280 if payload_bytes == 1024 else 320
    quic = results.limit("limit-quic-bulk", payload_bytes=each)
    if not (insert and verify and quic):
        return None
    # Both ends of the bulk transfer ran in one process on the same two cores.
    return 1 / ((1 / insert + 1 / verify) / 2 + 1 / quic)


def _median(values):
    return statistics.median(values) if values else None
