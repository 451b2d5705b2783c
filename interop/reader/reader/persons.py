"""Persons and their devices (spaces.md 18)."""

from . import cbor, keys, sealing
from .spaces import ARGUMENTS, group_operation, key_id, members_of

NOTES = {5: "person", 6: "leaves", 7: "joined", 8: "left", 9: "recovery"}


def operation(item):
    """9.3: the id, and what the reader of groups takes."""
    author, arguments, signature = item
    data = cbor.encode(arguments)
    if not keys.verify(author, b"p2panda group operation v1" + author + data, signature):
        return None, None
    id_ = keys.derive_key("p2panda group operation id v1", author + data)
    value = ARGUMENTS.read(arguments)
    return id_, group_operation(id_, author, value["group_id"], value["action"], value["dependencies"], value["nonce"])


def note(item):
    """16.2."""
    return [NOTES.get(item[0], "other")] + [one.hex() if isinstance(one, bytes) else one for one in item[1:]]


def read(check):
    file = check.file("spaces-persons.json")
    for v in file["messages"]:
        read_message(check, v)
    for v in file["cards"]:
        read_card(check, v)


def read_message(check, v):
    where = "spaces-persons", v["notes"][0][0]
    body, key = cbor.decode(bytes.fromhex(v["body"])), bytes.fromhex(v["structure_key"])
    check.equal(body[:2] + [body[3]], [1, 1, key_id(key)], *where, "control message under this key")
    bound = b"control" + bytes.fromhex(v["space"]) + bytes.fromhex(v["author"])
    plain = sealing.xunseal(key, body[4], bound, body[5])
    check.equal(plain.hex(), v["plaintext"], *where, "plaintext")
    structure = cbor.decode(plain)
    check.equal(cbor.encode(structure).hex(), v["plaintext"], *where, "deterministic")
    check.equal([note(one) for one in structure[8]], v["notes"], *where, "notes")
    check.equal(structure[2], None, *where, "no pointer")
    carried = [operation(one) for one in structure[1]]
    check.equal([id_.hex() for id_, _ in carried], v["operations"], *where, "operations")
    persons = [bytes.fromhex(one[1]) for one in v["notes"] if one[0] == "person"]
    groups = [ARGUMENTS.read(one[1])["group_id"] for one in structure[1]]
    check.equal(len(persons) <= 1 and all(group in persons for group in groups), True, *where, "18.4")


def read_card(check, v):
    where = "spaces-persons", "card", v["person"]
    item = cbor.decode(bytes.fromhex(v["bytes"]))
    check.equal(cbor.encode(item).hex(), v["bytes"], *where, "deterministic")
    version, person, operations, spaces, of_devices = item
    check.equal((version, person.hex()), (2, v["person"]), *where)
    hexes = lambda pair: pair and [one.hex() for one in pair]
    check.equal([hexes(one) for one in spaces], v["spaces"], *where, "spaces")
    check.equal(hexes(of_devices), v["of_devices"], *where, "device space")
    found = [operation(one) for one in operations]
    check.equal([id_.hex() for id_, _ in found], v["operations"], *where, "operations")
    check.equal({ARGUMENTS.read(one[1])["group_id"] for one in operations}, {person}, *where, "one group")
    members = members_of([one for _, one in found], person)
    check.equal(sorted(key for key, level in members if level == "manage"), v["devices"], *where, "devices")
