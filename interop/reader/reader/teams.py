"""Teams (spaces.md 19)."""

from . import cbor, keys, sealing
from .persons import operation
from .spaces import ARGUMENTS, key_id

MARK = b"teams v1"


def read(check):
    file = check.file("spaces-teams.json")
    for v in file["creates"]:
        read_create(check, v)
    for v in file["messages"]:
        read_message(check, v)


def read_create(check, v):
    """19.1: a bound id, and how the nonce ends."""
    where = "spaces-teams", "create", v["operation"]
    signed = cbor.decode(bytes.fromhex(v["signed"]))
    id_, _ = operation(signed)
    check.equal((id_ and id_.hex(), signed[0].hex()), (v["operation"], v["author"]), *where, "signed")
    value = ARGUMENTS.read(signed[1])
    nonce = value["nonce"]
    check.equal((value["group_id"].hex(), nonce and nonce.hex()), (v["group"], v["nonce"]), *where, "group")
    bound = keys.public(keys.derive_key("p2panda group id v1", signed[0] + nonce))
    check.equal(bound.hex(), v["group"], *where, "bound id")
    check.equal(nonce.endswith(MARK), v["is_team"], *where, "mark")


def read_message(check, v):
    """19.12: a name comes without pointer and operations."""
    where = "spaces-teams", v["notes"][0][0]
    body, key = cbor.decode(bytes.fromhex(v["body"])), bytes.fromhex(v["structure_key"])
    check.equal(body[:2] + [body[3]], [1, 1, key_id(key)], *where, "control message under this key")
    bound = b"control" + bytes.fromhex(v["space"]) + bytes.fromhex(v["author"])
    plain = sealing.xunseal(key, body[4], bound, body[5])
    check.equal(plain.hex(), v["plaintext"], *where, "plaintext")
    structure = cbor.decode(plain)
    check.equal(cbor.encode(structure).hex(), v["plaintext"], *where, "deterministic")
    check.equal((structure[1], structure[2]), ([], None), *where, "no pointer, no operations")
    notes = [["team", one[1].hex(), one[2]] for one in structure[8] if one[0] == 10]
    check.equal(notes, v["notes"], *where, "name")
