"""Plots as SVG: cost against size, both axes logarithmic."""
import math

from . import bars

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 50

TITLES = {
    "catch-up": "Catch-up, 100 B: seconds from start to the last message",
    "catch-up-1kib": "Catch-up, 1 KiB: seconds from start to the last message",
    "ingest": "Ingest: microseconds per operation against operations stored",
    "replay": "Replay: seconds to hand everything to the application",
}

# Readable on light and dark ground; the page's own colour where the viewer knows it.
STYLE = """
  text { font: 12px sans-serif; fill: #57606a; }
  .title { font-size: 14px; }
  .grid { stroke: #8b949e; stroke-opacity: 0.25; }
  .axis { stroke: #8b949e; }
  .ours { stroke: #1a7f37; fill: #1a7f37; }
  .theirs { stroke: #cf222e; fill: #cf222e; }
  .limit { stroke: #8250df; fill: #8250df; stroke-dasharray: 5 4; }
  polyline { fill: none !important; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9d1d9; }
    .ours { stroke: #3fb950; fill: #3fb950; }
    .theirs { stroke: #ff7b72; fill: #ff7b72; }
    .limit { stroke: #d2a8ff; fill: #d2a8ff; }
  }
"""


def all_plots(results):
    """Name and SVG of each plot that has points."""
    for name, (series, x, y) in _series(results).items():
        if any(points for _, _, points in series):
            yield name, _svg(TITLES[name], series, x, y)


def _series(results):
    def points(side, prefix, sizes, field, factor=1):
        found = []
        for name, n in sizes:
            value = results.median(side, f"{prefix}-{name}", field)
            if value:
                found.append((n, value * factor))
        return found

    sizes = [("200", 200), ("500", 500), ("1k", 1e3), ("10k", 1e4), ("100k", 1e5), ("1m", 1e6)]
    plots = {}
    for name, payload in [("catch-up", 100), ("catch-up-1kib", 1024)]:
        rate = bars.catch_up_limit(results, payload)
        limit = [(n, n / rate) for _, n in sizes[2:]] if rate else []
        plots[name] = (_three(lambda side, name=name: points(side, name, sizes, "seconds"), limit),
                       "operations missed", "seconds")
    stored = [("0", 1), ("10k", 1e4), ("100k", 1e5), ("1m", 1e6)]
    rate = results.limit("limit-sqlite-insert", payload_bytes=100)
    verify = results.limit("limit-verify")
    cost = (1 / rate + 1 / verify) / 2 * 1e6 if rate and verify else None
    limit = [(n, cost) for _, n in stored] if cost else []

    def per_operation(side):
        rates = points(side, "import", stored, "operations_per_s")
        return [(n, 1e6 / rate) for n, rate in rates]

    plots["ingest"] = (_three(per_operation, limit), "operations stored before", "µs each")
    rate = results.limit("limit-sqlite-read", payload_bytes=100)
    limit = [(n, n / rate) for _, n in sizes[3:]] if rate else []
    plots["replay"] = (_three(lambda side: points(side, "replay", sizes, "seconds"), limit),
                       "operations stored", "seconds")
    return plots


def _three(points, limit):
    return [("ours", "ours", points("ours")),
            ("theirs", "published 0.7.1", points("theirs")),
            ("limit", "limit", limit)]


def _svg(title, series, x_label, y_label):
    every = [point for _, _, points in series for point in points]
    x_range = _decades([x for x, _ in every])
    y_range = _decades([y for _, y in every])

    def place(x, y):
        across = (math.log10(x) - x_range[0]) / (x_range[1] - x_range[0])
        up = (math.log10(y) - y_range[0]) / (y_range[1] - y_range[0])
        return (LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
           f"<title>{title}</title>", f"<style>{STYLE}</style>",
           f'<text class="title" x="{LEFT}" y="22">{title}</text>']
    out += _grid(x_range, y_range, place)
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" '
               f'text-anchor="middle">{x_label}</text>')
    out.append(f'<text x="16" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle" '
               f'transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})">{y_label}</text>')
    for row, (css, name, points) in enumerate(series):
        out += _line(css, [place(*point) for point in points])
        y = TOP + 14 + 20 * row
        suffix = "" if points else ": none"
        out.append(f'<line class="{css}" x1="{WIDTH - RIGHT + 12}" x2="{WIDTH - RIGHT + 36}" '
                   f'y1="{y}" y2="{y}" stroke-width="2"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 42}" y="{y + 4}">{name}{suffix}</text>')
    return "\n".join([*out, "</svg>", ""])


def _line(css, places):
    if not places:
        return []
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = [] if css == "limit" else [
        f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places
    ]
    return [f'<polyline class="{css}" points="{path}"/>', *dots]


def _grid(x_range, y_range, place):
    for exponent in range(x_range[0], x_range[1] + 1):
        x, bottom = place(10**exponent, 10 ** y_range[0])
        _, top = place(10**exponent, 10 ** y_range[1])
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 18:.1f}" text-anchor="middle">{_tick(exponent)}</text>'
    for exponent in range(y_range[0], y_range[1] + 1):
        left, y = place(10 ** x_range[0], 10**exponent)
        right, _ = place(10 ** x_range[1], 10**exponent)
        yield f'<line class="grid" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{_tick(exponent)}</text>'


def _decades(values):
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def _tick(exponent):
    if exponent >= 6:
        return f"{10 ** (exponent - 6):g} M"
    if exponent >= 3:
        return f"{10 ** (exponent - 3):g} k"
    return f"{10.0**exponent:g}"
