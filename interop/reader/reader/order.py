"""The order stage of a topic (streams.md 6)."""

from . import keys, operations
from .check import unhex

SECOND = 1_000_000
WAIT, WAIT_MAX = 5 * SECOND, 600 * SECOND
PROGRESS_TIME, PROGRESS_BYTES = 30 * SECOND, 1920


class Session:
    """A session in catch-up (6.9): the time at which it stops counting unless it brings more."""

    def __init__(self, now):
        self.due, self.brought, self.counts = now + PROGRESS_TIME, [], True

    def bring(self, now, size):
        self.brought = [one for one in self.brought if one[0] > now - PROGRESS_TIME] + [(now, size)]
        if sum(size for _, size in self.brought) >= PROGRESS_BYTES:
            self.due, self.counts = now + PROGRESS_TIME, True


class Entry:
    def __init__(self, name, header, deps, arrived, awaits):
        self.name, self.header, self.deps, self.arrived = name, header, deps, arrived
        self.awaits, self.begins, self.has_body = set(awaits), arrived, False
        self.left_out_at = 0

    def due(self):
        """6.3.3 and 6.9; never while sessions of its arrival go on, but for the longest wait."""
        longest = self.arrived + WAIT_MAX
        return longest if self.awaits else min(longest, max(self.begins + WAIT, self.left_out_at))


class Log:
    def __init__(self):
        self.entries, self.passed, self.begins = {}, -1, 0


class Stage:
    def __init__(self, topic):
        self.topic, self.now, self.sessions, self.logs, self.feed = topic, 0, {}, {}, []

    def log(self, label):
        return self.logs.setdefault(label, Log())

    def label(self, author, log_id):
        return author if log_id is None else keys.derive_key("p2panda log label v1", author + log_id)

    def met(self, label, seq):
        """6.3.1 and 6.3.2."""
        log = self.logs.get(label)
        return log is not None and (log.passed >= seq or log.begins > seq)

    def ingest(self, name, header_bytes, body, session):
        header = operations.decode_header(header_bytes)
        extensions = operations.node_extensions(header)
        label = self.label(header.author, extensions.log_id if extensions.name else None)
        log = self.log(label)
        entry = log.entries.get(header.seq)
        if entry is None:
            awaits = [n for n, one in self.sessions.items() if one.counts]
            deps = [(one, self.label(one[0], one[1])) for one in extensions.deps]
            deps = [(one, of) for one, of in deps if of != label]  # operations.md 7.9: its own log is in order
            entry = log.entries[header.seq] = Entry(name, header, deps, self.now, awaits)
            if session in self.sessions:
                self.sessions[session].bring(self.now, len(header_bytes) + len(body or b""))
            if extensions.prune:
                log.begins = header.seq
                log.entries = {seq: one for seq, one in log.entries.items() if seq >= header.seq}
                log.passed = max(log.passed, header.seq - 1)
        if body is not None and not entry.has_body:
            entry.has_body = True
            if log.passed >= header.seq:
                self.feed.append((entry.name, []))
        self.advance(log)

    def phase(self, session, phase):
        if phase == "catch_up":
            self.sessions[session] = Session(self.now)
            return
        del self.sessions[session]
        for entry in self.waiting():
            if session in entry.awaits:
                entry.awaits.discard(session)
                entry.begins = self.now
        self.advance()

    def waiting(self):
        return [one for log in self.logs.values() for seq, one in sorted(log.entries.items()) if seq > log.passed]

    def fronts(self):
        found = [(log, log.entries.get(log.passed + 1)) for log in self.logs.values()]
        return sorted(((log, one) for log, one in found if one), key=lambda pair: pair[1].due())

    def advance(self, arrived=None):
        """Passes what is met or has waited long enough: first what arrived, then what that frees (6.6)."""
        while True:
            for log, entry in sorted(self.fronts(), key=lambda pair: pair[0] is not arrived):
                missing = [one for one, label in entry.deps if not self.met(label, one[2])]
                if not missing or entry.due() <= self.now:
                    break
            else:
                return
            log.passed += 1
            if entry.has_body:
                self.feed.append((entry.name, missing))

    def wait(self, us):
        end = self.now + us
        while True:
            times = [one.due() for one in self.waiting()] + [one.due for one in self.sessions.values() if one.counts]
            following = min((one for one in times if one > self.now), default=end + 1)
            if following > end:
                break
            self.now = following
            for number, session in self.sessions.items():
                if session.counts and session.due <= self.now:
                    session.counts = False
                    for entry in self.waiting():
                        if number in entry.awaits:
                            entry.awaits.discard(number)
                            entry.left_out_at = self.now
            self.advance()
        self.now = end
        self.advance()


def neutral(missing):
    return [{"author": author.hex(), "log": log and log.hex(), "seq": seq, "id": id_.hex()} for author, log, seq, id_ in missing]


def run(topic, named, steps):
    """The entries that each step adds to the feed."""
    stage, shown = Stage(topic), []
    for step in steps:
        before = len(stage.feed)
        if "operation" in step:
            header, body = named[step["operation"]]
            stage.ingest(step["operation"], header, None if step.get("body") is False else body, step.get("session", 1))
        elif "phase" in step:
            stage.phase(step["session"], step["phase"])
        else:
            stage.wait(step["wait_us"])
        shown.append([{"operation": name, "missing": neutral(missing)} for name, missing in stage.feed[before:]])
    return shown


def read(check):
    file = check.file("streams-order.json")
    named = {name: (unhex(one["header"]), unhex(one["body"])) for name, one in file["operations"].items()}
    for v in file["vectors"]:
        check.equal(run(unhex(file["topic"]), named, v["steps"]), v["shown"], "streams-order", v["name"])
