"""sync.md 5 and 6 and digest.md 4 for one side: what it sends, and the state of the session."""

from . import cbor, operations, sync
from .check import unhex
from .postcard import Invalid, Reader

CONTROL, HAVE, OPERATION, HEADER, DIGEST, ANY = 1 << 16, 1 << 23, 1 << 24, 1 << 20, 1 << 10, 1 << 27


class Over(Exception):
    """The session has ended, with the name of a close code, or `completed`."""


def limit_of(beginning, opens):
    """sync.md 2.2: by the kind, and for an operation by the length of its header."""
    if opens:
        return DIGEST
    reader = Reader(beginning)
    try:
        outer = reader.tag()
        inner = reader.tag() if outer == 0 else None
        if (outer, inner) == (0, 0):
            return HAVE
        if outer == 1 or inner == 2:
            return min(HEADER, OPERATION) if reader.length() > HEADER else OPERATION
    except Invalid:
        pass
    return CONTROL


class Session:
    def __init__(self, digests, node, peer, entries):
        self.digests, self.node, self.peer = digests, node, peer
        self.entries = entries  # of (author, log id, seq, header, body)
        self.receiving = "digest" if digests else "have"
        self.sent, self.done_sent, self.stopped, self.buffer, self.drop = [], False, False, b"", 0
        self.rejected = 0
        self.say("digest" if digests else "have")

    def say(self, kind):
        self.sent.append(kind)

    def heights(self):
        out = {}
        for author, log, seq, *_ in self.entries:
            logs = out.setdefault(author, {})
            logs[log] = max(seq, logs.get(log, 0))
        return out

    def is_live(self):
        return self.receiving == "live" and self.done_sent

    def bytes(self, data):
        dropped = min(len(data), self.drop)
        self.drop, self.buffer = self.drop - dropped, self.buffer + data[dropped:]
        while len(self.buffer) >= 4:
            size = int.from_bytes(self.buffer[:4], "big")
            if size == 0 or size > ANY:
                raise Over("violation")
            beginning = self.buffer[4:][: min(size, 20)]
            if len(beginning) < min(size, 20):
                return
            if size > limit_of(beginning, self.receiving == "digest"):
                # 2.3: an operation is drained where one may come.
                operation = beginning[:1] == b"\1" or beginning[:2] == b"\0\2"
                if not operation or not (self.receiving == "transfer" or self.is_live()):
                    raise Over("limit")
                here = len(self.buffer) - 4
                self.drop, self.buffer = max(0, size - here), self.buffer[4 + size :]
                self.rejected += 1
                continue
            if len(self.buffer) < 4 + size:
                return
            payload, self.buffer = self.buffer[4 : 4 + size], self.buffer[4 + size :]
            try:
                self.payload(payload)
            except Invalid:
                raise Over("violation") from None

    def payload(self, payload):
        if self.receiving == "digest":
            return self.digest(sync.digest(payload))
        kind, *fields = sync.decode(payload)
        if kind in ("announce", "fetch", "prefer", "large", "piece"):
            raise Invalid("link")  # link.md 9.1 and 11.1
        if kind in ("wanted", "absent") and not (self.digests and self.is_live() and kind == "wanted"):
            raise Invalid("digest.md 5.3")
        if kind == "wanted":
            return self.say("absent")
        self.message(kind, fields)

    def digest(self, theirs):
        own = sync.state(cbor.encode(self.heights()))
        if theirs == sync.digest_payload(self.peer, own)[4:]:
            self.receiving, self.done_sent = "live", True  # digest.md 4.2
        else:
            self.receiving = "have"
            self.say("have")

    def message(self, kind, fields):
        if self.receiving == "have" and kind == "have":
            self.receiving = "presync"
            self.missing = self.lacks(fields[0])
            if self.missing:
                self.say("presync")
            else:
                self.say("done")
                self.done_sent = True
        elif self.receiving == "presync" and kind in ("presync", "done"):
            self.receiving = "transfer" if kind == "presync" else "live"
            if not self.done_sent:
                self.sent += ["operation"] * len(self.missing) + ["done"]
                self.done_sent = True
        elif self.receiving == "transfer" and kind == "operation":
            if operations.outcome(operations.decode_header, fields[0]) != "ok":
                self.rejected += 1
        elif self.receiving == "transfer" and kind == "done":
            self.receiving = "live"
        elif self.receiving == "live" and kind == "done":
            pass  # 5.6
        elif self.is_live() and kind == "live":
            if operations.outcome(operations.decode_header, fields[0]) != "ok":
                self.rejected += 1
        elif self.is_live() and kind == "close":
            raise Over("completed")
        else:
            raise Invalid("UnexpectedMessage")

    def lacks(self, theirs):
        return [one for one in self.entries if one[2] > theirs.get(one[0], {}).get(one[1], -1)]

    def stop(self):
        if not self.is_live():
            raise Over("stopped")  # 6.9
        self.stopped = True
        self.say("close")

    def end(self):
        raise Over("completed" if self.stopped else "failed")

    def stands(self):
        return "live" if self.is_live() else "catch-up"


def run(digests, node, peer, entries, steps):
    session = Session(digests, node, peer, entries)
    try:
        for kind, data in steps:
            if kind == "bytes":
                session.bytes(data)
            elif kind == "stop":
                session.stop()
            else:
                session.end()
        outcome = session.stands()
    except Over as over:
        outcome = str(over)
    return session.sent, outcome


def steps_of(value):
    """Bytes of the peer, `end` of its stream, or `stop` where the application leaves."""
    return [("bytes", operations.parts(one["bytes"])) if "bytes" in one else (one["do"], None) for one in value]


def entry(header, body):
    found = operations.decode_header(header)
    return found.author, operations.node_extensions(found).log_id, found.seq, header, body


def read(check):
    file = check.file("sync-reactions.json")
    entries = [entry(unhex(one["header"]), unhex(one["body"])) for one in file["operations"]]
    for v in file["vectors"]:
        stored = entries[: v["stored"]]
        digests = v["protocol"] == "p2panda/digest_sync/v1"
        sent, outcome = run(digests, unhex(file["node"]), unhex(file["peer"]), stored, steps_of(v["steps"]))
        check.equal(sent, v["sent"], "sync-reactions", v["name"])
        check.equal(outcome, v["outcome"], "sync-reactions", v["name"])
