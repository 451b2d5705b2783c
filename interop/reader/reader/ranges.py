"""ranges.md: hashes of ranges, fingerprints, messages, and what follows from an exchange."""

from . import keys
from .check import unhex
from .postcard import Invalid, Reader, listed, only_frame, varint

LIST_MAX, BITS_MAX, ASKED_MAX, BEHIND_MAX, PREFIX_MAX, LEAF_MAX = 16, 5, 128, 2048, 512, 32
ZERO = bytes(16)


class Limit(Invalid):
    pass


# A range is a text of 0 and 1, a log (author, log id), a head (log, height, head id).


def bits_of(data, count=None):
    text = "".join(f"{byte:08b}" for byte in data)
    return text if count is None else text[:count]


def key_of(log):
    return bits_of(log[0] + log[1])


def set_hash(heads):
    """2.4, of heads in the order of their keys."""
    if len(heads) <= LEAF_MAX:
        parts = (a + l + seq.to_bytes(4, "big") + head for (a, l), seq, head in heads)
        return keys.digest(b"\0" + b"".join(parts))
    names = [key_of(head[0]) for head in heads]
    bit = next(i for i in range(512) if names[0][i] != names[-1][i])
    low = [head for head, one in zip(heads, names) if one[bit] == "0"]
    return keys.digest(b"\1" + set_hash(low) + set_hash(heads[len(low) :]))


def within(heads, prefix):
    return [head for head in heads if key_of(head[0]).startswith(prefix)]


def session_key(binding, sender):
    return keys.digest(b"p2panda/ranges/v1" + binding + sender)


def fingerprint(session, heads):
    return keys.digest(session + set_hash(heads))[:16]


class Codec:
    """4.2; knows the log id of the topic."""

    def __init__(self, topic_log):
        self.topic_log = topic_log

    def log(self, reader):
        author, kind = reader.raw(32), reader.u8()
        if kind > 1:
            raise Invalid("Log")
        return author, reader.raw(32) if kind else self.topic_log

    def prefix(self, reader):
        count = reader.u16()
        if count > PREFIX_MAX:
            raise Invalid("Prefix")
        text = bits_of(reader.raw((count + 7) // 8))
        if "1" in text[count:]:
            raise Invalid("Prefix")
        return text[:count]

    def known(self, reader):
        value = reader.u64()
        if value == 0:
            return None
        if (value - 1) // 2 > 2**32 - 1:
            raise Invalid("Known")
        return (value - 1) // 2, (value - 1) % 2 == 1

    def heads(self, reader, prefix):
        count = reader.length()
        if count > LIST_MAX:
            raise Limit("List")
        found = [(self.log(reader), reader.u32(), reader.raw(16)) for _ in range(count)]
        ascending(key_of(one[0]) for one in found)
        if any(not key_of(one[0]).startswith(prefix) for one in found):
            raise Invalid("Outside")
        return found

    def split(self, reader, prefix):
        path, bits = self.prefix(reader), reader.u8()
        if not 1 <= bits <= BITS_MAX:
            raise Limit("Bits")
        if len(prefix) + len(path) + bits > PREFIX_MAX:
            raise Invalid("Prefix")
        count = 1 << bits
        raw = reader.raw((count + 7) // 8)
        parts = [i for i in range(8 * len(raw)) if raw[i // 8] >> i % 8 & 1]
        if not parts or parts[-1] >= count:
            raise Invalid("Parts")
        return path, bits, {part: reader.raw(16) for part in parts}

    def asked(self, reader, cost):
        prefix, kind = self.prefix(reader), reader.tag()
        if kind == 0:
            has = None
        elif kind == 1:
            has = "split", self.split(reader, prefix)
        elif kind == 2:
            has = "list", self.heads(reader, prefix)
        else:
            raise Invalid("Asked")
        cost.append(1 if kind == 0 else len(has[1][2]) if kind == 1 else max(1, len(has[1])))
        if sum(cost) > ASKED_MAX:
            raise Limit("Asked")
        return prefix, has

    def all_asked(self, reader):
        cost, out = [], []
        for _ in range(reader.length()):
            out.append(self.asked(reader, cost))
            if len(out) > 1 and (out[-2][0] >= out[-1][0] or out[-1][0].startswith(out[-2][0])):
                raise Invalid("Order")
        return out

    def told(self, reader):
        kind = reader.tag()
        if kind == 0:
            return "equal"
        if kind == 1:
            return "split", self.split(reader, "")
        if kind == 2:
            return "list", self.heads(reader, "")
        if kind == 3:
            places = reader.list(lambda: (reader.u32(), self.known(reader)), 2)
            ascending(place for place, _ in places)
            return "behind", places
        raise Invalid("Told")

    def decode(self, payload):
        reader = Reader(payload)
        tag = reader.tag()
        if tag == 0:
            version, whole, yours = reader.u32(), reader.raw(16), reader.u64()
            if version == 0 or yours > 2**32:
                raise Invalid("Open")
            out = "open", version, whole, yours - 1 if yours else None, self.all_asked(reader)
            if version > 1:
                return out
        elif tag == 1:
            count = reader.length()
            if count > BEHIND_MAX:
                raise Limit("Behind")
            out = "ask", [(self.log(reader), self.known(reader)) for _ in range(count)], self.all_asked(reader)
        elif tag == 2:
            count = reader.length()
            if count > reader.left():
                raise Invalid("Eof")
            if count > ASKED_MAX:
                raise Limit("Tell")
            out = "tell", [self.told(reader) for _ in range(count)]
        elif tag == 3:
            out = ("done",)
        else:
            raise Invalid("Tag")
        reader.finish()
        return out

    def put_log(self, log):
        return log[0] + (b"\0" if log[1] == self.topic_log else b"\1" + log[1])

    def put_prefix(self, text):
        size = (len(text) + 7) // 8
        return varint(len(text)) + int(text.ljust(8 * size, "0") or "0", 2).to_bytes(size, "big")

    def put_known(self, known):
        return varint(0 if known is None else 1 + 2 * known[0] + known[1])

    def put_has(self, has):
        kind, value = has
        if kind == "list":
            return listed(self.put_log(log) + varint(seq) + head for log, seq, head in value)
        path, bits, parts = value
        number = sum(1 << part for part in parts)
        flags = number.to_bytes(((1 << bits) + 7) // 8, "little")
        return self.put_prefix(path) + bytes([bits]) + flags + b"".join(parts[i] for i in sorted(parts))

    def put_asked(self, asked):
        kinds = {"split": b"\1", "list": b"\2"}
        put = lambda has: b"\0" if has is None else kinds[has[0]] + self.put_has(has)
        return listed(self.put_prefix(prefix) + put(has) for prefix, has in asked)

    def put_told(self, told):
        if told == "equal":
            return b"\0"
        if told[0] == "behind":
            return b"\3" + listed(varint(place) + self.put_known(known) for place, known in told[1])
        return (b"\1" if told[0] == "split" else b"\2") + self.put_has(told)

    def encode(self, kind, *fields):
        if kind == "open":
            yours = 0 if fields[2] is None else fields[2] + 1
            return b"\0" + varint(fields[0]) + fields[1] + varint(yours) + self.put_asked(fields[3])
        if kind == "ask":
            behind = listed(self.put_log(log) + self.put_known(known) for log, known in fields[0])
            return b"\1" + behind + self.put_asked(fields[1])
        return b"\2" + listed(map(self.put_told, fields[0])) if kind == "tell" else b"\3"


def ascending(values):
    values = list(values)
    if any(one >= other for one, other in zip(values, values[1:])):
        raise Invalid("Order")


# The neutral form of the vectors.


def head_of(value):
    return (unhex(value["author"]), unhex(value["log_id"])), value["seq"], unhex(value["head_id"])


def has_of(value):
    if value is None:
        return None
    if "list" in value:
        return "list", [head_of(one) for one in value["list"]]
    split = value["split"]
    parts = {i: unhex(one) for i, one in enumerate(split["parts"]) if one is not None}
    return "split", (split["path"], split["bits"], parts)


def known_of(value):
    return None if value is None else (value["seq"], value["forked"])


def told_of(value):
    if value == "equal":
        return value
    if "has" in value:
        return has_of(value["has"])
    return "behind", [(one["place"], known_of(one["known"])) for one in value["behind"]]


def message_of(value):
    if value == "done":
        return ("done",)
    (kind, fields), = value.items()
    asked = lambda items: [(one["range"], has_of(one["has"])) for one in items]
    if kind == "open":
        return "open", fields["version"], unhex(fields["whole"]), fields["yours"], asked(fields["asked"])
    if kind == "ask":
        behind = [((unhex(b["author"]), unhex(b["log_id"])), known_of(b["known"])) for b in fields["behind"]]
        return "ask", behind, asked(fields["asked"])
    return "tell", [told_of(one) for one in fields]


def read(check):
    file = check.file("ranges.json")
    codec, binding = Codec(unhex(file["topic_log_id"])), unhex(file["binding"])
    sessions = {}
    for sender, wanted in file["session_key_by_sender"].items():
        sessions[sender] = session_key(binding, unhex(sender))
        check.equal(sessions[sender].hex(), wanted, "ranges")
    for v in file["sets"] + file["exchanges"]:
        for one in v.get("named", []):
            label = keys.derive_key("p2panda log label v1", unhex(one["author"]) + unhex(one["log_id"]))
            check.equal(label.hex(), one["label"], "ranges", v["name"])
    for v in file["sets"]:
        heads = sorted(map(head_of, v["heads"]), key=lambda head: head[0])
        for one in v["ranges"]:
            found = within(heads, one["range"])
            check.equal(len(found), one["count"], "ranges", v["name"], one["range"])
            check.equal(set_hash(found).hex(), one["hash"], "ranges", v["name"], one["range"])
            got = {sender: fingerprint(sessions[sender], found).hex() for sender in one["fingerprint_by_sender"]}
            check.equal(got, one["fingerprint_by_sender"], "ranges", v["name"], one["range"])
    for v in file["messages"]:
        message, payload = message_of(v["message"]), only_frame(unhex(v["frame"]))
        check.equal(codec.encode(*message), payload, "ranges", v["name"])
        check.equal(codec.decode(payload), message, "ranges", v["name"])
    for v in file["payloads"]:
        try:
            codec.decode(unhex(v["payload"]))
            got = "valid"
        except Limit:
            got = "limit"
        except Invalid:
            got = "invalid"
        check.equal(got, v["verdict"], "ranges", v["name"])
    for v in file["exchanges"]:
        Exchange(check, codec, binding, v).run()


class Side:
    def __init__(self, binding, value):
        self.node = unhex(value["node_id"])
        self.heads = sorted(map(head_of, value["heads"]), key=lambda head: head[0])
        self.by_log = {log: (seq, head) for log, seq, head in self.heads}
        self.session = session_key(binding, self.node)
        self.lacks, self.forked, self.seen, self.yours = {}, set(), set(), None

    def known(self, log):
        own = self.by_log.get(log)
        return None if own is None else (own[0], own[1] == ZERO)

    def meets(self, log, known, head=None):
        """6.1 and 6.2 for one log: notes what the other side lacks; whether this side is behind."""
        own = self.by_log.get(log)
        if own is None:
            return known is not None
        zero, theirs = own[1] == ZERO, known is not None and known[1]
        behind = known is not None and (known[0] > own[0] or (theirs and not zero))
        fork = known and known[0] == own[0] and not zero and not theirs and head in (None, "told")
        fork = fork or (known and head not in (None, "told") and known[0] == own[0] and not zero
                        and not theirs and head != own[1])
        if log not in self.seen:
            if known is None or known[0] < own[0]:
                self.lacks[log] = (None if known is None else known[0], own[0])
            if fork or (known and zero and not theirs):
                self.forked.add(log)
            self.seen |= {log} if log in self.lacks or log in self.forked else set()
        return behind or bool(fork)


class Exchange:
    """Follows the frames: what each side says has to be true of its heads, and what both find is compared."""

    def __init__(self, check, codec, binding, value):
        self.check, self.codec, self.value = check, codec, value
        self.sides = {name: Side(binding, value[name]) for name in ("initiator", "responder")}

    def same(self, got, wanted):
        self.check.equal(got, wanted, "ranges", self.value["name"])

    def true_of(self, side, prefix, has):
        """4.3 and 4.4."""
        heads = within(side.heads, prefix)
        if has[0] == "list":
            return self.same(has[1], heads)
        path, bits, parts = has[1]
        start = prefix + path
        self.same(len(within(heads, start)), len(heads))
        found = {part: within(heads, start + f"{part:0{bits}b}") for part in range(1 << bits)}
        wanted = {part: fingerprint(side.session, one) for part, one in found.items() if one}
        self.same(parts, wanted)

    def sees(self, side, other, prefix, has):
        """What `side` learns from what `other` has in a range; the parts that may differ."""
        heads = within(side.heads, prefix)
        if has[0] == "list":
            listed_ = {log: (seq, head) for log, seq, head in has[1]}
            for log, _, _ in heads:
                if log not in listed_:
                    side.meets(log, None)
            return [place for place, (log, seq, head) in enumerate(has[1])
                    if side.meets(log, (seq, head == ZERO), head)]
        path, bits, parts = has[1]
        inside = {part: within(heads, prefix + path + f"{part:0{bits}b}") for part in range(1 << bits)}
        told = {head for part in parts for head in inside[part]}
        for head in heads:
            if head not in told:
                side.meets(head[0], None)
        return [(prefix + path + f"{part:0{bits}b}", fingerprint(other.session, inside[part]) == parts[part])
                for part in sorted(parts)]

    def answer(self, asked, told):
        """5.4: what is due, against what the Tell says."""
        a, b = self.sides["initiator"], self.sides["responder"]
        told = list(told)
        for prefix, has in asked:
            if has is None:
                self.tells(prefix, told.pop(0))
            elif has[0] == "split":
                for part, equal in self.sees(b, a, prefix, has):
                    one = told.pop(0)
                    self.same(one == "equal", equal)
                    if not equal:
                        self.tells(part, one)
            else:
                places = [(place, b.known(has[1][place][0])) for place in self.sees(b, a, prefix, has)]
                self.same(told[0], ("behind", places))
                for place, known in told.pop(0)[1]:
                    log, seq, head = has[1][place]
                    a.meets(log, known, "told")
        self.same(told, [])

    def tells(self, prefix, one):
        a, b = self.sides["initiator"], self.sides["responder"]
        self.true_of(b, prefix, one)
        self.sees(a, b, prefix, one)

    def run(self):
        a, b = self.sides["initiator"], self.sides["responder"]
        opens, pending = {}, []
        for one in self.value["frames"]:
            side, other = (a, b) if one["from"] == "initiator" else (b, a)
            payload = only_frame(unhex(one["frame"]))
            message = message_of(one["message"])
            self.same(self.codec.encode(*message), payload)
            self.same(self.codec.decode(payload), message)
            if message[0] == "open":
                self.same(message[2], fingerprint(side.session, side.heads))
                own = side.by_log.get((other.node, self.codec.topic_log))
                self.same(message[3], own and own[0])
                opens[one["from"]], other.yours = message, message[3]
                pending += message[4:]
            elif message[0] == "ask":
                for log, known in message[1]:
                    self.same(known, side.known(log))
                    other.meets(log, known, "told")
                pending += [message[2]] if message[2] else []
            elif message[0] == "tell":
                pending = [asked for asked in pending if asked]
                self.answer(pending.pop(0), message[1])
            for prefix, has in message[-1] if message[0] in ("open", "ask") else []:
                if has:
                    self.true_of(side, prefix, has)
        equal = opens["responder"][2] == fingerprint(b.session, a.heads)
        self.same(equal, self.value["equal"])
        for name, side in self.sides.items():
            expected = self.value["expected"][name]
            log = lambda one: (unhex(one["author"]), unhex(one["log_id"]))
            self.same(side.lacks, {log(one): (one["after"], one["until"]) for one in expected["lacks"]})
            self.same(side.forked, {log(one) for one in expected["forked"]})
            self.same(side.yours, expected["peer_has_own_seq"])
