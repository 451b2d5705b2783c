"""recovery.md: a file that a passphrase opens, and what is in it."""

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from . import cbor, keys, sealing

FRONT, SUM, FILE_MAX, KIB_MAX, PASSES_MAX = 65, 32, 64 * 1024 * 1024, 1_048_576, 16


class Refused(Exception):
    pass


def number(data):
    return int.from_bytes(data, "big")


def unlock(data, passphrase):
    """3.2 in its order."""
    if data[:16] != b"p2panda recovery":
        raise Refused("NoRecoveryFile")
    if len(data) < 17:
        raise Refused("Length")
    if data[16] != 1:
        raise Refused("Newer")
    if len(data) > FILE_MAX:
        raise Refused("TooLong")
    if len(data) < FRONT + SUM or number(data[57:65]) != len(data) - FRONT - SUM:
        raise Refused("Length")
    if keys.derive_key("p2panda recovery checksum v1", data[:-SUM]) != data[-SUM:]:
        raise Refused("Damaged")
    kib, passes = number(data[17:21]), number(data[21:25])
    if not (8 <= kib <= KIB_MAX and 1 <= passes <= PASSES_MAX):
        raise Refused("TooCostly")
    argon2 = Argon2id(salt=data[25:57], length=32, iterations=passes, lanes=1, memory_cost=kib)
    try:
        return sealing.xunseal(argon2.derive(passphrase.encode()), bytes(24), data[:FRONT], data[FRONT:-SUM])
    except sealing.Refused:
        raise Refused("Passphrase") from None


def is_bytes(value, length):
    return isinstance(value, bytes) and len(value) == length


def content(data):
    """4.1."""
    try:
        value = cbor.decode(data)
    except cbor.Invalid:
        raise Refused("Invalid") from None
    if not isinstance(value, list) or len(value) < 2:
        raise Refused("Invalid")
    if value[0] != 1:
        raise Refused("Newer")
    if len(value) != 6:
        raise Refused("Invalid")
    _, network, key, written, card, spaces = value
    version, person, operations, named, of_devices = cbor.decode(card)
    named = ([] if of_devices is None else [of_devices]) + named
    if version != 2 or len(named) != len(spaces):
        raise Refused("Invalid")
    if not all(is_bytes(one, 32) for one in (network, key, person)):
        raise Refused("Invalid")
    shown = [
        {
            "topic": topic.hex(),
            "space": space.hex(),
            "secrets": cbor.encode(secrets).hex(),
            "keys": [one.hex() for one in structure],
        }
        for (topic, space), (secrets, structure) in zip(named, spaces)
    ]
    return {
        "network": network.hex(),
        "key": key.hex(),
        "written": written,
        "person": person.hex(),
        "operations": [cbor.encode(one).hex() for one in operations],
        "spaces": shown,
    }


def read(check):
    for v in check.file("recovery-content.json")["vectors"]:
        try:
            got = content(bytes.fromhex(v["inputs"]["content"]))
        except Refused as reason:
            got = {"error": str(reason)}
        check.equal(got, v["expected"], "recovery-content", v["name"])
    for v in check.file("recovery.json")["vectors"]:
        try:
            got = {"content": unlock(bytes.fromhex(v["inputs"]["file"]), v["inputs"]["passphrase"]).hex()}
        except Refused as reason:
            got = {"error": str(reason)}
        check.equal(got, v["expected"], "recovery", v["name"])
