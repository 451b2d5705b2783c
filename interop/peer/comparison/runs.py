"""Runs the binaries and records their output."""
import json
import os
import pathlib
import statistics
import subprocess
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Binaries:
    ours: pathlib.Path
    theirs: pathlib.Path


class Session:
    """Appends one line per result to a file."""

    def __init__(self, binaries, options, recorded, root):
        self.binaries, self.directory, self.quick = binaries, options.dir, options.quick
        self.recorded = recorded
        self.namespaces = os.geteuid() == 0
        self.commit = _commit(root)
        if not options.add:
            recorded.unlink(missing_ok=True)

    def limit(self, arguments):
        """One of the machine's limits."""
        if self.quick and arguments == "limit-quic":
            arguments += " --mib 32"
        network = arguments.startswith("limit-quic")
        self._run("limit", arguments.split()[0], self.binaries.ours, arguments, network, 120)

    def workload(self, workload, rep):
        """One workload: ours, then theirs."""
        if self.quick and not workload.quick:
            return
        for limit in workload.limits:
            self.limit(limit)
        if rep < workload.reps:
            self._run("ours", workload.key, self.binaries.ours, workload.ours,
                      workload.network, workload.timeout)
        if workload.theirs and rep < workload.theirs_reps:
            self._run("theirs", workload.key, self.binaries.theirs, workload.theirs,
                      workload.network, workload.timeout)

    def _run(self, side, key, binary, arguments, network, timeout):
        command = [str(binary), "--dir", str(self.directory / side), *arguments.split()]
        if network and self.namespaces:
            inside = 'ip link set lo up; exec "$@"'
            command = ["unshare", "-n", "bash", "-c", inside, "_", *command]
        started = time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
            output, failure = done.stdout, done.stderr if done.returncode else None
        except subprocess.TimeoutExpired as expired:
            output, failure = _text(expired.stdout), f"killed after {timeout} s"
        lines = [_parsed(line) for line in output.splitlines()]
        lines = [line for line in lines if line]
        if failure is not None or not lines:
            lines = [{"workload": key, "finished": False, "failure": (failure or "")[-400:]}]
        with self.recorded.open("a") as out:
            for line in lines:
                line.update(side=side, key=key, load=os.getloadavg()[0], commit=self.commit)
                out.write(json.dumps(line) + "\n")
        verdict = "FAILED " + failure[-200:] if failure else ""
        print(f"{time.monotonic() - started:7.1f} s  {side:6} {arguments} {verdict}", flush=True)


class Results:
    """All recorded lines, by side, key and name of the line."""

    def __init__(self, lines):
        self.lines = lines

    def values(self, side, key, name, workload=None, **where):
        """A field of all runs that finished. `name` may be a dotted path."""
        chosen = self._of(side, key, workload, where)
        found = [_field(line, name) for line in chosen if line.get("finished", True)]
        return [value for value in found if isinstance(value, (int, float))]

    def median(self, side, key, name, workload=None, **where):
        values = self.values(side, key, name, workload, **where)
        return statistics.median(values) if values else None

    def cut_off(self, side, key):
        """Whether there are runs, and none finished."""
        chosen = self._of(side, key, None, {})
        return bool(chosen) and not any(line.get("finished", True) for line in chosen)

    def limit(self, name, field="operations_per_s", **where):
        chosen = [l for l in self.lines if l["side"] == "limit" and l["workload"] == name]
        chosen = [l for l in chosen if all(l.get(k) == v for k, v in where.items())]
        values = [v for v in (_field(line, field) for line in chosen) if v is not None]
        return statistics.median(values) if values else None

    def per_limit(self, side, key, name):
        """A field of all runs, each divided by the last limit measured before it."""
        found, limit = [], None
        for line in self.lines:
            value = _field(line, "operations_per_s")
            if line["side"] == "limit" and line["workload"] == name:
                limit = value
            elif (line["side"], line["key"]) == (side, key) and value and limit:
                found.append(value / limit)
        return found

    def commits(self):
        """What was measured, in the order of its first run."""
        return list(dict.fromkeys(line["commit"] for line in self.lines))

    def _of(self, side, key, workload, where):
        chosen = [l for l in self.lines if l["side"] == side and l["key"] == key]
        if workload:
            chosen = [l for l in chosen if l["workload"] == workload]
        return [l for l in chosen if all(l.get(k) == v for k, v in where.items())]


def read(recorded):
    lines = recorded.read_text().splitlines() if recorded.exists() else []
    return Results([json.loads(line) for line in lines])


def _commit(root):
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(command, capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def _field(line, path):
    for part in path.split("."):
        line = line.get(part) if isinstance(line, dict) else None
    return line


def _parsed(line):
    try:
        return json.loads(line)
    except ValueError:
        return None


def _text(output):
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
