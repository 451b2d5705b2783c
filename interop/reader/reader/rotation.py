"""Rotation by age (spaces.md 8.8)."""

from . import cbor, keys, sealing
from .spaces import key_id

NOTE, DAYS_MAX, DAY = 11, 3650, 24 * 60 * 60
NOTES_MAX = 64
NAME = 3


class Malformed(Exception):
    pass


def days_of(item):
    """The days of a note, or none if it is a note of another kind."""
    if not isinstance(item, list) or not item or type(item[0]) is not int:
        raise Malformed
    if item[0] != NOTE:
        return None
    if len(item) != 2 or type(item[1]) is not int or not 0 <= item[1] <= DAYS_MAX:
        raise Malformed
    return item[1]


def asked(notes):
    """Of several notes in a message, the last one counts."""
    if len(notes) > NOTES_MAX:
        raise Malformed
    days = [one for one in map(days_of, notes) if one is not None]
    return days[-1] if days else None


def read_note(data):
    try:
        return days_of(cbor.decode(data))
    except (cbor.Invalid, Malformed):
        return "refused"


def read_message(v):
    """The plaintext of a control message, and the days that it asks for."""
    body, key = cbor.decode(bytes.fromhex(v["body"])), bytes.fromhex(v["structure_key"])
    if body[:4] != [1, 1, [], key_id(key)]:
        return None, "another key"
    bound = b"control" + bytes.fromhex(v["space"]) + bytes.fromhex(v["author"])
    plain = sealing.xunseal(key, body[4], bound, body[5])
    try:
        structure = cbor.decode(plain)
        days = asked(structure[8])
        # 16.2: these notes come without pointer.
        return plain, "Malformed" if days is not None and structure[2] is not None else days
    except (cbor.Invalid, Malformed):
        return plain, "Malformed"


def pasts(messages):
    """4.1: what each message has seen: what it names, the author's message before it, and what those have seen."""
    seen, last = {}, {}
    for one in messages:
        direct = set(one["names"]) | {last[one["author"]]} if one["author"] in last else set(one["names"])
        seen[one["name"]] = direct.union(*(seen[name] for name in direct))
        last[one["author"]] = one["name"]
    return seen


def settled(messages):
    """The days after which owners replace a secret, or none."""
    seen = pasts(messages)
    found = {one["name"]: asked(one["notes"]) for one in messages if not one["refused"]}
    found = {name: days for name, days in found.items() if days is not None}
    last = [days for name, days in found.items() if not any(name in seen[later] for later in found)]
    return min((days for days in last if days), default=None)


def verdict(v):
    """9.6.1 and 16.2, for messages without operations and without an ask."""
    try:
        if asked(v["notes"]) is not None and v["role"] != "owner":
            return "Role"
    except Malformed:
        return "Malformed"
    return "Malformed" if v["pointer"] else "counts"


class Clock:
    """8.8.2: from when the age of a secret counts."""

    def __init__(self):
        self.noticed = None  # secret, time

    def since(self, secret, date, now):
        if date <= now:
            self.noticed = None
            return date
        known = self.noticed[1] if self.noticed and self.noticed[0] == secret else now
        self.noticed = secret, min(known, now)
        return self.noticed[1]


def look(days, steps):
    clock, out = Clock(), []
    for step in steps:
        since = clock.since(step["secret"], step["date"], step["now"])
        out.append(step | {"since": since, "is_too_old": since + days * DAY <= step["now"]})
    return out


def read(check):
    file = check.file("spaces-rotation.json")
    for v in file["notes"]:
        data = bytes.fromhex(v["bytes"])
        check.equal(read_note(data), v["days"], "spaces-rotation", "note", v["name"])
        if v["days"] != "refused":
            check.equal(cbor.encode([NOTE, v["days"]]), data, "spaces-rotation", "note", v["name"], "bytes")
    for v in file["messages"]:
        plain, days = read_message(v)
        check.equal((plain and plain.hex(), days), (v["plaintext"], v["days"]), "spaces-rotation", "message", v["name"])
    for v in file["settings"]:
        check.equal(settled(v["messages"]), v["days"], "spaces-rotation", "setting", v["name"])
    for v in file["verdicts"]:
        check.equal(verdict(v), v["verdict"], "spaces-rotation", "verdict", v["name"])
    for v in file["due"]:
        bare = [{name: step[name] for name in ("now", "secret", "date")} for step in v["steps"]]
        check.equal(look(v["days"], bare), v["steps"], "spaces-rotation", "due", v["name"])
