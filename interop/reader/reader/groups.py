"""groups.md: the groups CRDT under both rule sets, and its encoding."""

from . import cbor, keys
from .check import unhex

LEVELS = ["pull", "read", "write", "manage"]
DEPENDENCIES_NAMED, DEPENDENCIES_MAX, ENTRIES_MAX = 64, 512, 10_000


class Refused(Exception):
    """Why an operation is not accepted."""


class Failed(Exception):
    """Why an action does not apply (section 6)."""


class Operation:
    def __init__(self, value):
        self.id, self.author, self.group = value["id"], value["author"], value["group"]
        self.dependencies, action = value["dependencies"], value["action"]
        self.type, self.access = action["type"], LEVELS.index(action["access"]) if "access" in action else None
        self.member = member_of(action["member"]) if "member" in action else None
        initial = action.get("initial_members", [])
        self.initial = [(member_of(one["member"]), LEVELS.index(one["access"])) for one in initial]
        self.bound = is_bound(value)


def member_of(value):
    (kind, name), = value.items()
    return kind, name


def bound_id(author, nonce):
    """4.2; in scenarios an author is a short name, filled up with zeros."""
    seed = keys.derive_key("p2panda group id v1", author.encode().ljust(32, b"\0") + nonce)
    return keys.public(seed).hex()


def is_bound(value):
    if "nonce" not in value or value["action"]["type"] != "create":
        return False
    return bound_id(value["author"], unhex(value["nonce"])) == value["group"]


def merge(*states):
    """5.2: the larger m, then the larger a, then the lower access."""
    out = {}
    for state in states:
        for group, table in state.items():
            mine = out.setdefault(group, {})
            for member, (m, access, a) in table.items():
                best = mine.get(member)
                if best is None or (m, a, -access) > (best[0], best[2], -best[1]):
                    mine[member] = (m, access, a)
    return out


def is_active(entry):
    return entry[0] % 2 == 1


def actor_check(table, author):
    entry = table.get(("individual", author))
    if entry is None:
        raise Failed("unrecognised_actor")
    if not is_active(entry):
        raise Failed("inactive_actor")
    if entry[1] != 3:
        raise Failed("insufficient_access")


def change(state, op, hardened, dropped=()):
    """Section 6: the new table of the operation's group; raises Failed."""
    if op.type == "create":
        return {member: (1, access, 0) for place, (member, access) in enumerate(op.initial) if place not in dropped}
    if op.group not in state:
        raise Failed("unknown_group")
    table = dict(state[op.group])
    entry = table.get(op.member)
    if op.type == "add":
        actor_check(table, op.author)
        if entry and is_active(entry):
            raise Failed("already_added")
        table[op.member] = (entry[0] + 1 if entry else 1, op.access, 0)
    elif op.type == "remove":
        if op.member == ("individual", op.author):
            if entry is None:
                raise Failed("unrecognised_actor")
            if not is_active(entry):
                raise Failed("inactive_actor")
        else:
            actor_check(table, op.author)
        if entry is None:
            raise Failed("unrecognised_member")
        if not is_active(entry):
            raise Failed("already_removed")
        table[op.member] = (entry[0] + 1, entry[1], 0)
    else:
        table[op.member] = changed_access(table, op, entry, hardened)
    return table


def changed_access(table, op, entry, hardened):
    """6.6 to 6.8."""
    if entry is None:
        raise Failed("unrecognised_member")
    m, access, a = entry
    top = 3 if op.type == "promote" else 0
    if not hardened and access == top:
        return entry
    actor_check(table, op.author)
    if not is_active(entry):
        raise Failed("inactive_member")
    rises = op.access > access if op.type == "promote" else op.access < access
    if hardened and not rises:
        raise Failed("hardened(Q4)")
    return entry if op.access == access else (m, op.access, a + 1)


def widest(state, group):
    """10.3 and 10.4: members and nested groups with their access, the highest access first."""
    found, left = {}, [(entry[1], member) for member, entry in state.get(group, {}).items() if is_active(entry)]
    while left:
        left.sort()
        access, member = left.pop()
        if member in found:
            continue
        found[member] = access
        if member[0] == "group":
            inside = state.get(member[1], {}).items()
            left += [(min(access, entry[1]), one) for one, entry in inside if is_active(entry)]
    members = sorted([name, LEVELS[access]] for (kind, name), access in found.items() if kind == "individual")
    nested = sorted([name, LEVELS[access]] for (kind, name), access in found.items() if kind == "group")
    return members, nested


def reaches(state, group):
    return {name for name, _ in widest(state, group)[1]}


def removed(op):
    """8.4."""
    if op.type == "remove" or (op.type == "demote" and op.access < 3):
        return op.member[1]
    return None


def delegated(op):
    return op.member[1] if op.type in ("add", "promote") and op.access == 3 else None


class Groups:
    def __init__(self, hardened):
        self.hardened = hardened
        self.ops, self.index, self.past = [], {}, []
        self.classes, self.dropped = [], []  # 9.3: decided once, when it is accepted

    def before(self, i, k):
        return self.past[k] >> i & 1 == 1

    def concurrent(self, i, k):
        return i != k and not self.before(i, k) and not self.before(k, i)

    def all(self):
        return (1 << len(self.ops)) - 1

    def places(self, mask):
        return [i for i in range(len(self.ops)) if mask >> i & 1]

    def heads(self, mask):
        covered = 0
        for i in self.places(mask):
            covered |= self.past[i]
        return self.places(mask & ~covered)

    def state_at(self, mask, resolved=None):
        states = (resolved or self.resolve(mask))[0]
        return merge(*(states[i] for i in self.heads(mask)))

    def effective(self, group, mask):
        """4.3 and 4.4: the effective create of those considered, or none."""
        creates = [i for i in self.places(mask) if self.ops[i].type == "create" and self.ops[i].group == group]
        seen = lambda i, bound: any(
            self.before(k, i) and (self.ops[k].bound or not bound)
            for k in range(len(self.ops))
            if self.ops[k].type == "create" and self.ops[k].group == group
        )
        ok = [i for i in creates if not seen(i, False) or (self.ops[i].bound and not seen(i, True))]
        return min(ok, key=lambda i: (not self.ops[i].bound, self.ops[i].id), default=None)

    def resolve(self, mask):
        """Section 8: the state after each operation, and its status."""
        places, lacking = self.places(mask), set()
        if self.hardened:
            for group in {self.ops[i].group for i in places}:
                create = self.effective(group, mask)
                lacking |= {
                    i for i in places if self.ops[i].group == group and i != create
                    and (self.ops[i].type == "create" or create is None or not self.before(create, i))
                }
        counting = [i for i in places if i not in lacking and self.classes[i] is None]
        filtered, mutual = self.filter(counting), self.mutual(counting)
        states, statuses = {}, {}
        for i in places:
            op, start = self.ops[i], merge(*(states[self.index[id_]] for id_ in self.ops[i].dependencies))
            states[i] = start
            if self.classes[i] is not None:
                statuses[i] = f"no_effect:{self.classes[i]}"
            elif i in lacking:
                statuses[i] = "no_effect:hardened(Q1)"
            elif i in mutual:
                statuses[i] = "forced_removal"
                states[i] = self.force(start, op)
            elif i in filtered:
                statuses[i] = "filtered"
            else:
                try:
                    states[i] = start | {op.group: change(start, op, self.hardened, self.dropped[i])}
                    statuses[i] = "applied"
                except Failed as reason:
                    statuses[i] = f"no_effect:{reason}"
        return states, statuses

    def force(self, start, op):
        """8.8."""
        table, member = dict(start.get(op.group, {})), ("individual", removed(op))
        if member in table and is_active(table[member]):
            m, access, a = table[member]
            table[member] = (m + 1, access, a)
        return start | ({op.group: table} if op.group in start else {})

    def filter(self, counting):
        """8.5."""
        out = set()
        for r in counting:
            x = removed(self.ops[r])
            if x is None:
                continue
            for c in counting:
                other = self.ops[c]
                if other.group == self.ops[r].group and self.concurrent(r, c):
                    if other.author == x or (other.type == "add" and other.member[1] == x):
                        out.add(c)
        return out

    def mutual(self, counting):
        """8.6: removals on a cycle of at least two arrows."""
        arrows = []
        for i in counting:
            op = self.ops[i]
            if removed(op) is not None and removed(op) != op.author:
                arrows.append((i, removed(op), True))
            if delegated(op) is not None:
                arrows.append((i, delegated(op), False))
        edges = {n: set() for n in range(len(arrows))}
        for n, (r, target, removes) in enumerate(arrows):
            for k, (s, _, also) in enumerate(arrows):
                if n == k or self.ops[s].author != target or self.ops[s].group != self.ops[r].group:
                    continue
                if removes and also:
                    fits = self.concurrent(r, s)
                elif removes:
                    fits = not self.before(s, r)
                else:
                    fits = self.before(r, s)
                if fits:
                    edges[n].add(k)
        reach = {n: self.follow(edges, n) for n in edges}
        return {arrows[n][0] for n in edges if arrows[n][2] and n in reach[n]}

    def follow(self, edges, start):
        seen, left = set(), list(edges[start])
        while left:
            one = left.pop()
            if one not in seen:
                seen.add(one)
                left += edges[one]
        return seen

    def process(self, op):
        """7.2; raises Refused."""
        if op.id in self.index:
            raise Refused("duplicate")
        if op.id in op.dependencies:
            raise Refused("malformed:self_dependency")
        if self.hardened and (len(op.dependencies) > DEPENDENCIES_MAX or len(op.initial) > ENTRIES_MAX):
            raise Refused("limit")
        for id_ in op.dependencies:
            if id_ not in self.index:
                raise Refused(f"missing_dependency:{id_}")
        if op.type in ("add", "promote") and op.access == 3 and op.member[0] == "group":
            raise Refused("rejected:manager_groups_not_allowed")
        mask = 0
        for id_ in op.dependencies:
            mask |= self.past[self.index[id_]] | 1 << self.index[id_]
        resolved = self.resolve(mask)
        state = self.state_at(mask, resolved)
        kind, dropped = None, {}
        try:
            self.admit(state, op)
            kind, dropped = self.hardening(state, op)
        except Failed as reason:
            # 9.2.2 and 9.5
            if not self.hardened or not self.was_hardened(mask, resolved[1]):
                raise Refused(f"rejected:{reason}") from None
            kind = str(reason)
        self.index[op.id] = len(self.ops)
        self.ops.append(op)
        self.past.append(mask)
        self.classes.append(kind)
        self.dropped.append(dropped)

    def admit(self, state, op):
        if op.type == "add" and op.member[0] == "group":
            k = op.member[1]
            if k == op.group or op.group in reaches(state, k):
                raise Failed("group_cycle")
        if op.type != "create" and op.group not in state:
            raise Failed("unknown_group")
        change(state, op, False)

    def hardening(self, state, op):
        """9.2.1: the class, and the entries of a create that Q2 and Q3 drop."""
        if not self.hardened:
            return None, {}
        if op.type == "create":
            dropped = {}
            for place, ((kind, name), access) in enumerate(op.initial):
                if kind == "group" and access == 3:
                    dropped[place] = "Q2"
                elif kind == "group" and (name == op.group or op.group in reaches(state, name)):
                    dropped[place] = "Q3"
            return None, dropped
        try:
            change(state, op, True)
        except Failed as reason:
            return str(reason) if str(reason).startswith("hardened") else "hardened(Q5)", {}
        return None, {}

    def was_hardened(self, mask, statuses):
        return any("hardened" in statuses[i] or self.dropped[i] for i in self.places(mask))

    def named(self, op):
        """3.4 and 3.4.1: the dependencies that an author names who knows all of this."""
        state = self.state_at(self.all())
        inside = [member[1] for member, _ in op.initial if member[0] == "group"]
        inside += [op.member[1]] if op.member and op.member[0] == "group" else []
        groups = {op.group} | reaches(state, op.group)
        for k in inside:
            groups |= {k} | reaches(state, k)
        statuses = self.resolve(self.all())[1]
        about = [
            i for i in range(len(self.ops))
            if self.ops[i].group in groups and self.classes[i] is None
            and statuses[i] != "no_effect:hardened(Q1)"
        ]
        last = [i for i in about if not any(self.before(i, k) for k in about)]
        id_of = lambda i: self.ops[i].id
        if len(last) <= DEPENDENCIES_NAMED:
            return sorted(map(id_of, last))
        target = op.member[1] if op.member else None
        here = lambda i: self.ops[i].group == op.group
        first = [i for i in about if here(i) and removed(self.ops[i]) in (op.author, target) and removed(self.ops[i])]
        second = [i for i in last if self.ops[i].author == op.author]
        second += [i for i in about if here(i) and self.decides(i, op.author, target)]
        third = [i for i in about if removed(self.ops[i]) is not None and i not in first]
        taken = []
        for i in [i for part in (first, second, third) for i in sorted(set(part), key=id_of)]:
            if not any(i == k or self.before(i, k) for k in taken):
                taken.append(min((k for k in last if k == i or self.before(i, k)), key=id_of))
        others = sorted((i for i in last if i not in taken), key=id_of)
        taken += others[: max(0, DEPENDENCIES_NAMED - len(taken))]
        return sorted(map(id_of, taken))

    def decides(self, i, *names):
        op = self.ops[i]
        targets = [member[1] for member, _ in op.initial] + ([op.member[1]] if op.member else [])
        return any(name in targets for name in names if name)


def describe(state):
    return {
        group: {f"{kind}:{name}": [m, LEVELS[access], a] for (kind, name), (m, access, a) in table.items()}
        for group, table in state.items()
    }


def diverging(groups):
    """9.9: the rules that take something away, by operation."""
    statuses = groups.resolve(groups.all())[1]
    for i, op in enumerate(groups.ops):
        rules = set(groups.dropped[i].values())
        if "hardened" in statuses[i]:
            rules.add(statuses[i].split("(")[1].rstrip(")"))
        for rule in rules:
            yield op.id, rule


def run(groups, operations, diverges=None):
    """Hands over all of a scenario; what the vectors expect of it."""
    outcomes, refused = {}, set()
    for op in operations:
        if diverges is not None and groups.ops:
            diverges.update(diverging(groups))
        if any(id_ in refused for id_ in op.dependencies):
            outcomes[str(op.id)] = "undeliverable"
        else:
            try:
                groups.process(op)
                outcomes[str(op.id)] = "accepted"
            except Refused as reason:
                outcomes[str(op.id)] = str(reason)
        if outcomes[str(op.id)] != "accepted":
            refused.add(op.id)
    states, statuses = groups.resolve(groups.all())
    now = groups.state_at(groups.all())
    by_id = lambda values: {str(groups.ops[i].id): value for i, value in values.items()}
    return {
        "outcome": outcomes,
        "states": by_id({i: describe(state) for i, state in states.items()}),
        "status": by_id(statuses),
        "heads": sorted(groups.ops[i].id for i in groups.heads(groups.all())),
        "groups": {group: shown(now, group) for group in now},
    }


def shown(state, group):
    members, nested = widest(state, group)
    direct = sorted([f"{kind}:{name}", LEVELS[access]] for (kind, name), (m, access, _) in state[group].items() if m % 2)
    return {"root_members": direct, "members": members, "nested_groups": nested}


# Encoding (section 11).


def from_neutral(value):
    """The `decoded` form of the wire vectors: byte strings are written h'..'."""
    if isinstance(value, dict):
        return {key: from_neutral(one) for key, one in value.items()}
    if isinstance(value, list):
        return [from_neutral(one) for one in value]
    if isinstance(value, str) and value.startswith("h'"):
        return unhex(value[2:-1])
    return value


def to_neutral(value):
    if isinstance(value, cbor.Map):
        return {key: to_neutral(one) for key, one in value.pairs}
    if isinstance(value, list):
        return [to_neutral(one) for one in value]
    return f"h'{value.hex()}'" if isinstance(value, bytes) else value


def has_conditions(value):
    if isinstance(value, dict):
        return value.get("conditions") is not None or any(map(has_conditions, value.values()))
    return isinstance(value, list) and any(map(has_conditions, value))


def read(check):
    for v in check.file("groups-wire.json")["values"]:
        check.equal(cbor.encode(from_neutral(v["decoded"])).hex(), v["cbor"], "groups-wire", v["value"])
        decoded = to_neutral(cbor.decode(unhex(v["cbor"])))
        check.equal(decoded, v["decoded"], "groups-wire", v["value"])
        refused = has_conditions(decoded)  # 2.3
        check.equal(refused, v["value"].startswith("access read with conditions"), "groups-wire", v["value"])
    for name in ("groups-scenarios.json", "groups-random.json"):
        for v in check.file(name)["scenarios"]:
            got = run(Groups(False), [Operation(one) for one in v["operations"]])
            for field in got:
                check.equal(got[field], v["expected"][field], name, v["name"], field)
    for v in check.file("groups-hardened.json")["scenarios"]:
        diverges, groups = set(), Groups(True)
        got = run(groups, [Operation(one) for one in v["operations"]], diverges)
        got["diverges"] = sorted(map(list, diverges | set(diverging(groups))))
        for field in got:
            check.equal(got[field], v["expected"][field], "groups-hardened", v["name"], field)
    file = check.file("groups-malformed-scenarios.json")
    for v in file["scenarios"]:
        for hardened in (False, True):
            groups = Groups(hardened)
            for one in v["prior"]:
                groups.process(Operation(one))
            if "query" in v:
                members, nested = widest(groups.state_at(groups.all()), v["query"]["members"])
                got = {"members": members, "nested_groups": nested}
            else:
                got = None
                try:
                    groups.process(Operation(v["operation"]))
                except Refused as reason:
                    got = str(reason)
            check.equal(got, v["required"], "groups-malformed-scenarios", v["name"])
    words = [one["name"] for one in check.file("groups-malformed.json")["malformed"]]
    check.equal(words, [v["name"] for v in file["scenarios"]], "groups-malformed")
    for v in check.file("groups-dependencies.json")["scenarios"]:
        groups = Groups(True)
        for one in v["operations"]:
            groups.process(Operation(one))
        for one in v["asked"]:
            asked = Operation(one | {"id": -1, "dependencies": []})
            check.equal(groups.named(asked), one["dependencies"], "groups-dependencies", v["name"])
