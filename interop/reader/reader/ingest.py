"""streams.md 4.1 and 5: what may enter a log, step by step."""

from . import keys, operations
from .check import unhex
from .operations import Invalid


class Log:
    def __init__(self):
        self.entries, self.bodies, self.begins, self.early, self.forked = {}, set(), 0, {}, set()

    def prune(self, seq):
        self.begins = seq
        self.entries = {at: one for at, one in self.entries.items() if at >= seq}
        self.early = {at: one for at, one in self.early.items() if at > seq}

    def head(self):
        return self.entries[max(self.entries)] if self.entries else None


class Node:
    def __init__(self):
        self.logs = {}  # by topic and label

    def ingest(self, topic, header_bytes, body):
        try:
            header = operations.decode_header(header_bytes)
        except Invalid as error:
            return "rejected InvalidSignature" if str(error) == "InvalidSignature" else "rejected Undecodable"
        if operations.check_body(header, body) != "ok":
            return "rejected PayloadMismatch"
        try:
            extensions = operations.node_extensions(header)
        except Invalid as error:
            name = str(error).split("(")[0]
            return f"rejected {'InvalidExtensions' if name == 'DecodingExtensions' else name}"
        log_id, label = keys.digest(topic), header.author
        if extensions.name:
            log_id = keys.derive_key("p2panda named log id v1", topic + extensions.name)
            label = keys.derive_key("p2panda log label v1", header.author + extensions.log_id)
        if extensions.log_id != log_id:
            return "rejected WrongTopic"
        log = self.logs.setdefault((topic, label), Log())
        outcome = self.enter(log, header, extensions, body)
        if outcome == "stored":
            self.enter_early(log)
        return outcome

    def enter(self, log, header, extensions, body):
        head = log.head()
        if head and header.seq <= head.seq:
            return self.occupied(log, header, body)
        whole = body is not None or header.size == 0
        prunes = extensions.prune and whole  # 5.1: a snapshot that is withheld prunes nothing
        follows = operations.append(head, header, False) == "ok"
        if not prunes and (header.seq > (head.seq + 1 if head else 0) or (extensions.prune and not follows)):
            log.early.setdefault(header.seq, (header, extensions, body))
            return "early"
        if operations.append(head, header, prunes) != "ok":
            log.forked.add(header.seq)
            return "rejected BacklinkMismatch"
        log.entries[header.seq] = header
        if whole:
            log.bodies.add(header.seq)
        if prunes:
            log.prune(header.seq)
        return "stored"

    def occupied(self, log, header, body):
        here = log.entries.get(header.seq)
        if here is None:
            return "pruned"
        if here.id == header.id:
            if body is not None and header.seq not in log.bodies:
                log.bodies.add(header.seq)
                if operations.node_extensions(header).prune and header.seq > log.begins:
                    log.prune(header.seq)
                return "body filled"
            return "duplicate"
        log.forked.add(header.seq)
        return "rejected Fork"

    def enter_early(self, log):
        while log.head() and log.head().seq + 1 in log.early:
            one = log.early.pop(log.head().seq + 1)
            if self.enter(log, *one) != "stored":
                return


def run(named, topics, steps):
    node, outcomes = Node(), []
    for step in steps:
        header, body = named[step["operation"]]
        body = None if step.get("body") is False else body
        outcomes.append(node.ingest(topics[step.get("topic", 0)], header, step["other_body"] if "other_body" in step else body))
    found = sorted(([topics.index(topic), label.hex(), log]) for (topic, label), log in node.logs.items() if log.entries)
    ends = [{"topic": t, "label": label, "height": max(log.entries), "begins": log.begins, "evidence": sorted(log.forked)}
            for t, label, log in found]
    return outcomes, ends


def read(check):
    file = check.file("streams-ingest.json")
    named = {name: (unhex(one["header"]), unhex(one["body"])) for name, one in file["operations"].items()}
    topics = [unhex(one) for one in file["topics"]]
    for v in file["vectors"]:
        steps = [step | ({"other_body": unhex(step["other_body"])} if "other_body" in step else {}) for step in v["steps"]]
        outcomes, logs = run(named, topics, steps)
        check.equal(outcomes, v["outcomes"], "streams-ingest", v["name"])
        check.equal(logs, v["logs"], "streams-ingest", v["name"])
