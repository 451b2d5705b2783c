"""The page: docs/performance.md."""
import datetime
import os
import platform
import statistics

from . import bars, plot

HEAD = """# Performance

This page compares our node with the published p2panda crates 0.7.1 and with the limits of the machine, in
alternating runs on one machine. Figures are medians, with the smallest and the largest run in brackets. The
bars are set by the project. "Limit" is the most that the machine achieves for the same work without p2panda:
signatures of ed25519-dalek, batched inserts into SQLite, commits that are synced to
disk, one QUIC connection of iroh.

| | |
|---|---|
| date | {date} |
| commit | {commit} |
| machine | {machine} |
| command | `interop/peer/compare` |

Rates and times use all cores of the machine, with both processes on them. Our own operations are
on disk before they are announced. The time of a catch-up runs from the start of the second
process to the last message at its application. Wire is UDP payload in both directions; each datagram counts once,
at its sender. A run of the published node that hangs is ended ("does not finish"); its wire is that
of a catch-up of 500, its disk that of 1k, its open that of a database of 100k. The commit of a live
message is measured at the same pace, one in 10 ms: disk and processor become idle in between. Its limit is
that commit plus half of a request and response over QUIC at that pace.

"""

MARKS = {True: "met", False: "**missed**", None: ""}


def render(results, quick):
    """The text, and how many bars were missed."""
    table = bars.table(results)
    text = HEAD.format(
        date=datetime.date.today().isoformat(), commit=", ".join(results.commits()),
        machine=_machine()
    )
    text += "| workload | unit | ours | bar | | published 0.7.1 | ratio | limit |\n"
    text += "|---|---|---|---|---|---|---|---|\n"
    for bar in table:
        if quick and not bar.ours:
            continue
        text += _row(bar)
    text += (
        "\nConsumers, views and batches, also compared with nats-server: "
        "[performance/streaming.md](performance/streaming.md).\n"
        "The network: [performance/network.md](performance/network.md).\n"
    )
    text += "\n## The machine's limits\n\n| limit | per second |\n|---|---|\n"
    for name, rate in _limits(results):
        text += f"| {name} | {_number(rate)} |\n"
    if not quick:
        text += "\n## Cost against size\n\n"
        for name, title in plot.TITLES.items():
            text += f"![{title}](performance/{name}.svg)\n\n"
    missed = sum(bar.met() is False for bar in table)
    return text.rstrip() + "\n", missed


def _row(bar):
    ratio = ""
    if isinstance(bar.theirs, list) and bar.theirs and bar.median():
        theirs = statistics.median(bar.theirs)
        ratio = bar.median() / theirs if bar.sense > 0 else theirs / bar.median()
        ratio = f"{_number(ratio)} ×"
    asked = ""
    if bar.bar is not None:
        asked = f"{'≥' if bar.sense > 0 else '≤'} {_number(bar.bar)}"
    cells = [bar.name, bar.unit, _spread(bar.ours), asked, MARKS[bar.met()],
             _spread(bar.theirs), ratio, _number(bar.limit)]
    return "| " + " | ".join(cells) + " |\n"


def _spread(values):
    if values is None:
        return ""
    if isinstance(values, str):
        return values
    if not values:
        return "not measured"
    ordered = sorted(values)
    middle = _number(statistics.median(ordered))
    if len(ordered) == 1:
        return middle
    return f"{middle} ({_number(ordered[0])} to {_number(ordered[-1])})"


def _number(value):
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"


def _limits(results):
    named = [
        ("sign", "limit-sign", {}),
        ("verify, cold key", "limit-verify", {}),
        ("SQLite insert in batches, 100 B", "limit-sqlite-insert", {"payload_bytes": 100}),
        ("SQLite insert in batches, 1 KiB", "limit-sqlite-insert", {"payload_bytes": 1024}),
        ("SQLite read in order, 100 B", "limit-sqlite-read", {"payload_bytes": 100}),
        ("SQLite commit synced to disk", "limit-commit", {}),
        ("write and sync of 4 KiB", "limit-fsync", {}),
        ("QUIC connect", "limit-quic-connect", {}),
        ("QUIC question and answer", "limit-quic-request", {}),
        ("QUIC frames of 320 B, one stream", "limit-quic-bulk", {"payload_bytes": 320}),
        ("QUIC frames of 1 280 B, one stream", "limit-quic-bulk", {"payload_bytes": 1280}),
    ]
    for title, name, where in named:
        rate = results.limit(name, **where)
        if rate is not None:
            yield title, rate


def _machine():
    model = ""
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            names = [line for line in cpuinfo if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() + ", " if names else ""
    except OSError:
        pass
    return f"{model}{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
