"""sync.md 11.2 to 11.7: two nodes with any number of sessions between them on one topic."""

SIDES = ("smaller", "larger")


class Side:
    """One end of a session."""

    def __init__(self, dialled, primary):
        self.dialled, self.primary = dialled, primary
        self.inbox, self.sent, self.ended_by_peer = [], [], False
        self.begun = self.said_have = self.said_done = self.heard_done = self.closing = False
        self.expects, self.theirs, self.given, self.live_order, self.end = "have", None, set(), 0, None

    def is_live(self):
        return self.said_done and self.heard_done and not self.closing and self.end is None

    def catches_up(self):
        return self.end is None and not (self.said_done and self.heard_done)


class Node:
    def __init__(self, name, entries):
        self.name, self.entries, self.sides, self.lives = name, set(entries), {}, 0
        self.shown = set()  # what the peer has, as it told or showed while a session runs

    def heights(self):
        return {author: max(seq for a, seq in self.entries if a == author) for author, _ in self.entries}

    def others(self, number):
        return [side for n, side in self.sides.items() if n != number and side.end is None]


class Pair:
    def __init__(self, stored):
        self.nodes = {name: Node(name, [(name, seq) for seq in range(stored[name])]) for name in SIDES}
        self.count = 0

    def dial(self, who):
        for name in SIDES:
            self.nodes[name].sides[self.count] = Side(name == who, who == "smaller")  # 11.2
        self.count += 1

    def say(self, name, number, kind, value=None):
        side = self.nodes[name].sides[number]
        side.sent.append(kind)
        other = SIDES[1 - SIDES.index(name)]
        self.nodes[other].sides[number].inbox.append((kind, value))

    def begin(self, number, name):
        self.nodes[name].sides[number].begun = True
        self.settle(name)

    def deliver(self, number, name):
        node, side = self.nodes[name], self.nodes[name].sides[number]
        inbox, side.inbox = side.inbox, []
        for kind, value in inbox:
            if side.end is None:
                self.message(node, number, side, kind, value)
                self.settle(name)
        if side.ended_by_peer and side.end is None:
            side.end = "completed" if side.closing else "failed"
        self.settle(name)

    def message(self, node, number, side, kind, value):
        if kind == "have":
            side.theirs = value
        elif kind in ("presync", "done") and side.expects == "presync":
            side.expects, side.heard_done = "transfer", kind == "done"
        elif kind == "operation":
            node.entries.add(value)
            side.given.add(value)  # the peer has it
        elif kind == "done":
            side.heard_done = True
        elif kind == "close":
            side.end = "completed"
            self.nodes[SIDES[1 - SIDES.index(node.name)]].sides[number].ended_by_peer = True

    def settle(self, name):
        """Lets a node do all it can in its open sessions."""
        node, moved = self.nodes[name], True
        while moved:
            moved = any([self.go_on(node, n, side) for n, side in sorted(node.sides.items())])

    def go_on(self, node, number, side):
        if not side.begun or side.end or side.closing:
            return False
        waits = not side.primary and any(one.primary and one.catches_up() for one in node.others(number))
        if not side.said_have:
            if waits:  # 11.3
                return False
            side.said_have = True
            self.say(node.name, number, "have", node.heights())
            return True
        if side.theirs is not None and side.expects == "have":
            side.expects = "presync"
            self.compare(node, number, side)
            return True
        if side.expects == "transfer" and not side.said_done:
            for entry in side.plan:
                self.say(node.name, number, "operation", entry)
            side.said_done = True
            self.say(node.name, number, "done")
            return True
        if side.is_live() and not side.live_order:
            node.lives += 1
            side.live_order = node.lives
            return True
        return self.supersede(node, number, side)

    def compare(self, node, number, side):
        """11.4: each entry separately."""
        covered = set()
        for one in node.others(number):
            covered |= one.given
        side.plan = sorted(entry for entry in node.entries - covered if entry[1] > side.theirs.get(entry[0], -1))
        side.given |= set(side.plan)
        if side.plan:
            self.say(node.name, number, "presync")
        else:
            side.said_done = True
            self.say(node.name, number, "done")

    def supersede(self, node, number, side):
        """11.6 and 11.7."""
        if not side.is_live():
            return False
        newer = [one for one in node.others(number) if one.primary and one.is_live()
                 and (not side.primary or one.live_order > side.live_order)]
        if not newer or (side.primary and not side.dialled):
            return False
        side.closing = True
        self.say(node.name, number, "close")
        return True


def run(stored, steps):
    pair = Pair(stored)
    for step in steps:
        (kind, value), = step.items()
        if kind == "dial":
            pair.dial(value)
        else:
            getattr(pair, kind)(*value)
    out = []
    for number in range(pair.count):
        sides = {}
        for name in SIDES:
            side = pair.nodes[name].sides[number]
            stands = side.end or ("closing" if side.closing else "live" if side.is_live() else "catch-up")
            sides[name] = {"sent": side.sent, "outcome": stands}
        out.append(sides)
    return out


def read(check):
    for v in check.file("sync-two-dials.json")["vectors"]:
        check.equal(run(v["stored"], v["steps"]), v["sessions"], "sync-two-dials", v["name"])
