"""Spaces with a key for each message (spaces-message.md)."""

from . import cbor, encryption, sealing, shapes
from .sealing import hkdf
from .spaces import Node, derived, in_order, key_id, read_keys, STRUCTURE


class Member(Node):
    """A member that keeps roots, which no real one may: it opens messages in any order."""

    def __init__(self, signing_key, random):
        super().__init__(signing_key, random)
        self.roots, self.standing, self.begins = {}, {}, None

    def control(self, id_, author, plain):
        self.begins = id_
        super().control(id_, author, plain)
        directs = STRUCTURE.decode(plain)[3]
        sent = {one["recipient"] for one in directs if one["content"][0] == "TwoParty"}
        self.standing[id_] = sent | {author}

    def take_direct(self, author, kind, content):
        """2.1, 2.2: a welcome hands out what is kept, a rotation its root."""
        before = dict(self.secrets)
        super().take_direct(author, kind, content)
        if kind == "Welcome":
            return
        (id_, root), = ((one, self.secrets[one]) for one in self.secrets if one not in before)
        self.ring.pop(key_id(derived(self.secrets.pop(id_), b"structure")))
        kept = hkdf(b"p2panda kept secret v1", root, b"", 32)
        self.secrets[encryption.group_secret_id(kept)] = kept
        key = derived(kept, b"structure")
        self.ring[key_id(key)] = key
        self.roots[self.begins] = root

    def content(self, author, item):
        """3.2."""
        _, _, epoch, generation, nonce, sealed = item
        if epoch not in self.roots or author not in self.standing[epoch]:
            return None
        chain = hkdf(b"p2panda space chain v1", self.roots[epoch], self.space + epoch + author, 32)
        for _ in range(generation):
            chain = hkdf(b"p2panda space next v1", chain, b"", 32)
        key = hkdf(b"p2panda space message v1", chain, b"", 32)
        return sealing.xunseal(key, nonce, b"message" + self.space + author, sealed)


def read(check):
    file = check.file("spaces-message.json")
    nodes = [Member(bytes.fromhex(one["signing_key"]), sealing.Random(bytes.fromhex(one["rng_seed"]))) for one in file["nodes"]]
    by_author = {one.author: one for one in nodes}
    for one in file["operations"]:
        if one["kind"] == "keys":
            read_keys(check, by_author, one)
    order = in_order([one for one in file["operations"] if one["kind"] != "keys"])
    creator = next(bytes.fromhex(one["author"]) for one in order if one["kind"] == "control")
    for node in nodes:
        if node.author != creator:  # it makes the roots that the others are sent
            read_node(check, node, order, file)


def read_node(check, node, order, file):
    locked = []
    for v in order:
        item = cbor.decode(bytes.fromhex(v["body"]))
        check.equal(cbor.encode(item).hex(), v["body"], "spaces-message", v["id"], "deterministic")
        if v["kind"] == "control":
            locked.append((v, bytes.fromhex(v["author"]), item))
    while True:
        opened = next((one for one in locked if read_control(check, node, *one)), None)
        if opened is None:
            break
        locked.remove(opened)
    check.equal(locked, [], "spaces-message", "all control messages are opened")
    check.equal((node.space.hex(), node.group.hex()), (file["space"], file["group"]), "spaces-message", "space")
    shown = []
    for v in order:
        author, item = bytes.fromhex(v["author"]), cbor.decode(bytes.fromhex(v["body"]))
        if v["kind"] != "content":
            continue
        check.equal((item[:2], item[2].hex(), item[3]), ([1, 4], v["epoch"], v["generation"]), "spaces-message", v["id"])
        data = node.content(author, item)
        names = [bytes.fromhex(one) for one in v["dependencies"]]
        stands = v["verdict"] == "Stands"
        check.equal(node.is_withdrawn(author, v["seq"], names), not stands, "spaces-message", v["id"], "verdict")
        if data is not None and stands:
            check.equal(data.decode(), v["data"], "spaces-message", v["id"])
            shown.append(v["data"])
    wanted = next(one["shows"] for one in file["nodes"] if one["author"] == node.author.hex())
    check.equal(sorted(shown), wanted, "spaces-message", "shows")


def read_control(check, node, v, author, item):
    plain = node.open(author, item)
    if plain is not None:
        node.control(bytes.fromhex(v["id"]), author, plain)
        check.equal(plain.hex(), v["plaintext"], "spaces-message", v["id"], "structure")
    return plain is not None
