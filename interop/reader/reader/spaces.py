"""Encrypted spaces in both forms (spaces.md)."""

from . import cbor, channel, encryption, hybrid, keys, operations, sealing, shapes
from .channel import accepted
from .groups import Groups, Operation, has_conditions, to_neutral, widest
from .sealing import Refused, hkdf
from .shapes import KEY, MEMBER, OCTETS, OPERATION, many, struct

# ---- groups.md 11 and section 3 ----

ACCESS = struct(level=shapes.enum(Pull=None, Read=None, Write=None, Manage=None), conditions=shapes.ANY)
ACTOR = shapes.enum(Individual=MEMBER, Group=MEMBER)
CHANGED = struct(access=ACCESS, member=ACTOR)
ACTION = shapes.enum(Create=struct(initial_members=many(shapes.row(ACTOR, ACCESS))), Add=CHANGED,
                     Remove=struct(member=ACTOR), Promote=CHANGED, Demote=CHANGED)
LISTED = many(OPERATION, 512)


def octets(size):
    def read(item):
        found = OCTETS.read(item)
        shapes.must(len(found) == size)
        return found

    return shapes.Shape(read, list)


MESSAGE = shapes.enum(
    KeyBundle=struct(key_bundle=shapes.LONGTERM_BUNDLE),
    Auth=struct(("nonce",), nonce=shapes.maybe(KEY), group_id=MEMBER, group_action=ACTION, auth_dependencies=LISTED),
    SpaceMembership=struct(group_id=MEMBER, space_id=KEY, auth_message_id=OPERATION,
                           direct_messages=many(shapes.DIRECT), space_dependencies=LISTED),
    SpaceUpdate=struct(group_id=MEMBER, space_id=KEY, space_dependencies=LISTED),
    Application=struct(nonce=octets(24), space_id=KEY, ciphertext=OCTETS, group_secret_id=octets(32),
                       space_dependencies=LISTED),
)


def named(message):
    """3.4: what a message names."""
    name, fields = message
    pointed = [fields["auth_message_id"]] if name == "SpaceMembership" else []
    return pointed + fields.get("auth_dependencies", []) + fields.get("space_dependencies", [])


def decode(data):
    item = cbor.decode(data)
    if has_conditions(to_neutral(item)):
        raise cbor.Invalid("Conditions")
    return MESSAGE.read(item)


def group_operation(id_, author, group, action, dependencies, nonce=None):
    """An operation as the reader of groups takes it: names are hex."""
    name, fields = action
    level = lambda access: access["level"][0].lower()
    actor = lambda member: {member[0].lower(): member[1].hex()}
    found = {"type": name.lower()}
    if name == "Create":
        found["initial_members"] = [{"member": actor(one), "access": level(access)} for one, access in fields["initial_members"]]
    else:
        found["member"] = actor(fields["member"])
        if "access" in fields:
            found["access"] = level(fields["access"])
    value = {"id": id_.hex(), "author": author.hex(), "group": group.hex(), "action": found,
             "dependencies": [one.hex() for one in dependencies]}
    operation = Operation(value)
    operation.bound = nonce is not None and bound_id(author, nonce) == group
    return operation


def bound_id(author, nonce):
    return keys.public(keys.derive_key("p2panda group id v1", author + nonce))


# ---- a device that reads a space in the form of 0.7.1 ----


class Device:
    """A device that only reads."""

    def __init__(self, state, now):
        self.member = encryption.Member(state)
        self.me, self.operations, self.pointed, self.group, self.now = state["my_id"], {}, set(), None, now
        self.taken, self.shows, self.waiting = set(), [], []

    def take(self, message, all_messages):
        """A message behind those that it names: the recordings have no causal order."""
        if message[0] in self.taken:
            return
        self.taken.add(message[0])
        for one in all_messages.values():
            if one[0] in named(message[2]):
                self.take(one, all_messages)
        self.process(*message)
        for fields in list(self.waiting):  # 5.8
            data = self.open(fields)
            if data is not None:
                self.waiting.remove(fields)
                self.shows.append(data)

    def process(self, id_, author, message):
        name, fields = message
        pki = self.member.state["pki"]
        if name == "KeyBundle":
            channel.check_bundle(fields["key_bundle"], self.now)
            pki["identities"][author] = fields["key_bundle"]["identity_key"]
        elif name == "Auth":
            self.operations[id_] = group_operation(id_, author, fields["group_id"], fields["group_action"],
                                                   fields["auth_dependencies"], fields["nonce"])
        elif name == "SpaceMembership":
            self.follow(author, fields)
        elif name == "Application":
            self.waiting.append(fields)

    def follow(self, author, fields):
        """1.3: a message stands for what it and those before it point to."""
        self.group = self.group or fields["group_id"]
        if fields["group_id"] != self.group:
            return
        left = [fields["auth_message_id"].hex()]
        while left:
            one = left.pop()
            if one not in self.pointed:
                self.pointed.add(one)
                left += self.operations[bytes.fromhex(one)].dependencies
        for direct in fields["direct_messages"]:
            if direct["recipient"] == self.me:
                kind, content = direct["content"]
                side = self.member.channel(author)
                opened = side.receive(content["ciphertext"], self.member.state["pki"]["identities"].get(author))
                got = shapes.SECRET_BUNDLE.decode(opened) if kind == "Welcome" else [shapes.GROUP_SECRET.decode(opened)]
                self.member.secrets = {**encryption.bundle_of(got), **self.member.secrets}

    def open(self, fields):
        found = self.member.secrets.get(fields["group_secret_id"])
        return found and accepted(sealing.xunseal, found[0], fields["nonce"], b"", fields["ciphertext"])

    def members(self):
        return members_of([one for one in self.operations.values() if one.id in self.pointed], self.group)


def members_of(found, group):
    groups, left = Groups(True), {one.id: one for one in found}
    while left:
        one = next(one for one in left.values() if not any(id_ in left for id_ in one.dependencies))
        groups.process(left.pop(one.id))
    return widest(groups.state_at(groups.all()), group.hex())[0]


# ---- section 9 ----

GROUP_OPERATION = shapes.row(MEMBER, shapes.ANY, shapes.SIGNATURE)
ARGUMENTS = struct(("nonce",), nonce=shapes.maybe(KEY), action=ACTION, group_id=MEMBER, dependencies=LISTED)
SUITE_2 = shapes.enum(Welcome=struct(history=shapes.ANY, ciphertext=shapes.ANY), TwoParty=struct(ciphertext=shapes.ANY))
DIRECTS = many(struct(content=SUITE_2, recipient=MEMBER))
STRUCTURE = shapes.row(
    many(OPERATION, 64), many(GROUP_OPERATION), shapes.maybe(shapes.row(MEMBER, OPERATION)), DIRECTS,
    many(shapes.row(MEMBER, shapes.U64)), many(KEY), shapes.Shape(lambda item: item),
    shapes.maybe(shapes.row(shapes.U64, shapes.ANY)), many(shapes.ANY, 64))


def derived(secret, use):
    """9.9."""
    return hkdf(b"p2panda space " + use + b" v1", secret, b"", 32)


def key_id(structure_key):
    return hkdf(b"p2panda space key id v1", structure_key, b"", 16)


def open_box(box, pair, author):
    """10.5: the space and a structure key."""
    if len(box) != 1200:
        raise Refused("box")
    context = sealing.Context(b"HPKE" + sealing.XWING_SUITE, pair.open(box[:1120]), b"p2panda space box v1")
    opened = context.open(author, box[1120:])
    return opened[:32], opened[32:]


class Node:
    """A member of a sealed space: what its keys open, and the resulting state of the space."""

    def __init__(self, signing_key, random):
        self.author = keys.public(signing_key)
        identity, prekey, z, seed, bundle_z = (random.take(size) for size in (32, 32, 64, 32, 64))
        self.keys = hybrid.Keys(sealing.clamp(identity), sealing.clamp(prekey), seed)
        self.prekey_signature = z
        self.bundle_z = bundle_z
        self.ring, self.secrets, self.channels, self.space, self.group = {}, {}, {}, None, None
        self.operations, self.controls, self.shows = {}, {}, {}

    def bundle(self, lifetime):
        found = {"xwing": self.keys.xwing.public, "suites": [1, 2], "identity_key": sealing.public(self.keys.identity),
                 "signed_prekey": (sealing.public(self.keys.prekey), lifetime)}
        return {**found, "signature": sealing.xsign(hybrid.signed_bytes(found), self.keys.identity, self.bundle_z)}

    def open(self, author, item):
        """The structure of a control message, with keys from boxes and welcomes (10.7). It hands out the keys of earlier ones."""
        _, _, boxes, name, nonce, sealed = item
        for box in boxes:
            found = accepted(open_box, box, self.keys.xwing, author)
            if found and self.space in (None, found[0]):
                self.space, key = found
                self.ring[key_id(key)] = key
        if name not in self.ring:
            return None
        plain = sealing.xunseal(self.ring[name], nonce, b"control" + self.space + author, sealed)
        self.ring.update((key_id(key), key) for key in STRUCTURE.decode(plain)[5])
        return plain

    def control(self, id_, author, plain):
        """A control message, after those that it names."""
        dependencies, found, pointer, directs, heights, _, _, _, _ = STRUCTURE.decode(plain)
        self.controls[id_] = author, pointer, dict(heights), dependencies
        if pointer and self.group is None:
            self.group = pointer[0]
        for one in found:
            self.take_operation(*one)
        for direct in directs:
            if direct["recipient"] == self.author and author != self.author:
                self.take_direct(author, *direct["content"])

    def take_operation(self, author, arguments, signature):
        """9.3; the id of the create is the space id (9.4)."""
        data = cbor.encode(arguments)
        if not keys.verify(author, b"p2panda group operation v1" + author + data, signature):
            raise Refused("Operation")
        id_ = keys.derive_key("p2panda group operation id v1", author + data)
        value = ARGUMENTS.read(arguments)
        self.operations[id_] = group_operation(id_, author, value["group_id"], value["action"], value["dependencies"],
                                               value["nonce"])
        if id_ == self.space and value["group_id"] != self.group:
            raise Refused("OtherGroup")

    def take_direct(self, author, kind, content):
        side = self.channels.setdefault(author, hybrid.Side(self.group, self.author, author, self.keys))
        opened = side.receive(cbor.encode(content["ciphertext"]))[0]
        got = shapes.SECRET_BUNDLE.decode(opened) if kind == "Welcome" else [shapes.GROUP_SECRET.decode(opened)]
        for secret, _ in got:
            self.secrets[encryption.group_secret_id(secret)] = secret
            key = derived(secret, b"structure")
            self.ring[key_id(key)] = key

    def content(self, author, item):
        _, _, secret_id, nonce, sealed = item
        if secret_id not in self.secrets:
            return None
        key = derived(self.secrets[secret_id], b"content")
        return sealing.xunseal(key, nonce, b"content" + self.space + author, sealed)

    def members(self):
        return members_of(self.operations.values(), self.group)

    def past(self, dependencies):
        """The control messages in a past."""
        found, left = set(), list(dependencies)
        while left:
            one = left.pop()
            if one in self.controls and one not in found:
                found.add(one)
                left += self.controls[one][3]
        return found

    def is_withdrawn(self, author, seq, dependencies):
        """6.2 with heights (9.7): a pointer that took the right and has not seen the message, unseen by it."""
        if author.hex() in [name for name, level in self.members() if level in ("write", "manage")]:
            return False
        seen = self.past(dependencies)
        took = [heights[author] for id_, (_, _, heights, _) in self.controls.items() if author in heights and id_ not in seen]
        return not took or any(seq >= height for height in took)


# ---- vectors ----


def read(check):
    for v in check.file("spaces-wire.json")["values"]:
        data = bytes.fromhex(v["cbor"])
        check.equal(MESSAGE.encode(decode(data)), data, "spaces-wire", v["value"])
        check.equal(to_neutral(cbor.decode(data)), v["decoded"], "spaces-wire", v["value"])
    for v in check.file("spaces-scenarios.json")["scenarios"]:
        messages = read_messages(check, v)
        if not v["name"].startswith("defect-"):
            read_devices(check, v, messages)
    for name in ("spaces-sealed.json", "spaces-joining.json"):
        read_sealed(check, check.file(name))


def read_messages(check, v):
    authors = {one["name"]: bytes.fromhex(one["verifying_key"]) for one in v["peers"]}
    found = {}
    for one in v["messages"]:
        where = ("spaces-scenarios", v["name"], one["label"])
        data, header = bytes.fromhex(one["args_cbor"]), operations.decode_header(bytes.fromhex(one["header_cbor"]))
        message = decode(data)
        check.equal(MESSAGE.encode(message), data, *where)
        check.equal(cbor.encode(header.extensions[0]), data, *where, "in the header")
        check.equal((header.id.hex(), header.author), (one["id"], authors[one["author"]]), *where, "id")
        check.equal({one.hex() for one in named(message)}, set(one["dependencies"]), *where, "names")
        found[one["label"]] = header.id, header.author, message
    return found


def read_devices(check, v, messages):
    """14.2: every device that makes no pointer itself."""
    names = {one["verifying_key"]: one["name"] for one in v["peers"]}
    bundles = [fields["key_bundle"] for _, _, (name, fields) in messages.values() if name == "KeyBundle"]
    now = max(one["signed_prekey"][1]["not_before"] for one in bundles) + 1 if bundles else 0
    for peer in v["peers"]:
        own = [step for step in v["steps"] if step.get("peer") == peer["name"]]
        labels = [label for step in own for label in step.get("published", [])]
        if any(messages[label][2][0] == "SpaceMembership" for label in labels):
            continue
        device = device_of(peer, now)
        for number, step in enumerate(v["steps"]):
            where = ("spaces-scenarios", v["name"], peer["name"], number)
            if step.get("action") == "process" and step["peer"] == peer["name"]:
                shown = [bytes(one["Application"]["data"]) for one in step["events"] if "Application" in one]
                device.take(messages[step["message"]], messages)
                check.equal(device.shows[-len(shown):] if shown else [], shown, *where, "data")
            elif "check" in step and device.group and peer["name"] in step.get("result", {}):
                got = sorted([names.get(key, key), level] for key, level in device.members())
                check.equal(got, sorted(step["result"][peer["name"]]["members"]), *where, "members")


def device_of(peer, now):
    """14.2: signing key and identity, then the seed of the generator that draws everything else."""
    random = sealing.Random(bytes([peer["rng_seed_byte"]]) * 32)
    signing, identity = random.take(32), sealing.clamp(random.take(32))
    assert signing.hex() == peer["signing_key"] and identity.hex() == peer["identity_secret"][2:-1]
    prekey = sealing.clamp(sealing.Random(random.take(32)).take(32))
    own = {"prekeys": {sealing.public(prekey): {"secret": prekey}}, "identity_key": sealing.public(identity),
           "identity_secret": identity, "onetime_next_id": 0, "onetime_secrets": {}}
    registry = {"identities": {}, "onetime_bundles": {}, "longterm_bundles": {}}
    return Device({"my_id": bytes.fromhex(peer["verifying_key"]), "my_keys": own, "pki": registry, "two_party": {}}, now)


ROLES = {"pull": "courier", "read": "reader", "write": "editor", "manage": "owner"}


def read_sealed(check, file):
    nodes = [Node(bytes.fromhex(one["signing_key"]), sealing.Random(bytes.fromhex(one["rng_seed"]))) for one in file["nodes"]]
    by_author = {one.author: one for one in nodes}
    for one in file["operations"]:
        if one["kind"] == "keys":
            read_keys(check, by_author, one)
    order = in_order([one for one in file["operations"] if one["kind"] != "keys"])
    creator = next(bytes.fromhex(one["author"]) for one in order if one["kind"] == "control")
    for node in nodes:
        if node.author != creator:  # it makes the secrets that the others are handed
            read_node(check, node, order, file)


def in_order(found):
    """Orders each after what it names and after its predecessor in its log."""
    out, done = [], set()
    while found:
        for one in found:
            before = [x for x in found if (x["author"], x["log"]) == (one["author"], one["log"]) and x["seq"] < one["seq"]]
            if not before and all(id_ in done for id_ in one["dependencies"]):
                break
        found.remove(one)
        out.append(one)
        done.add(one["id"])
    return out


def read_keys(check, by_author, v):
    node, item = by_author[bytes.fromhex(v["author"])], cbor.decode(bytes.fromhex(v["body"]))
    check.equal(item[:2], [1, 0], "spaces-sealed", "keys")
    bundle = hybrid.HYBRID_BUNDLE.read(item[2])
    lifetime = bundle["signed_prekey"][1]
    check.equal(accepted(lambda: hybrid.check_bundle(bundle, lifetime["not_after"] - 1) or True), True, "bundle")
    check.equal(bundle, node.bundle(lifetime), "spaces-sealed", "bundle")
    check.equal(cbor.encode([1, 0, hybrid.HYBRID_BUNDLE.write(bundle)]).hex(), v["body"], "spaces-sealed", "keys")


def read_control(check, node, v, author, item):
    plain = node.open(author, item)
    if plain is not None:
        check.equal(plain.hex(), v["plaintext"], "spaces-sealed", v["id"], "structure")
        check.equal(node.ring[item[3]].hex(), v["structure_key"], "spaces-sealed", v["id"], "structure key")
    return plain


def take_controls(check, node, locked):
    """Opens what it can, and takes it in causal order, until nothing more opens."""
    opened, count = {}, None
    while count != (len(opened), len(node.controls)):
        count = len(opened), len(node.controls)
        for v, author, item in locked:
            plain = opened.get(v["id"]) or read_control(check, node, v, author, item)
            if plain is None:
                continue
            opened[v["id"]] = plain
            id_, named = bytes.fromhex(v["id"]), STRUCTURE.decode(plain)[0]
            if id_ not in node.controls and all(one in node.controls for one in named):
                node.control(id_, author, plain)


def read_node(check, node, order, file):
    waiting, locked = {}, []
    for v in order:
        author, item = bytes.fromhex(v["author"]), cbor.decode(bytes.fromhex(v["body"]))
        check.equal(cbor.encode(item).hex(), v["body"], "spaces-sealed", v["id"], "deterministic")
        if v["kind"] == "content":
            waiting[v["id"]] = v, author, item
            continue
        check.equal((item[3].hex(), len(item[2])), (v["key_id"], v["boxes"]), "spaces-sealed", v["id"])
        locked.append((v, author, item))
    take_controls(check, node, locked)
    check.equal(len(node.controls), len(locked), "spaces-sealed", "all control messages are opened")
    check.equal((node.space.hex(), node.group.hex()), (file["space"], file["group"]), "spaces-sealed", "space")
    check.equal(sorted([key, ROLES[level]] for key, level in node.members()), sorted(file["members"]), "spaces-sealed")
    shown = []
    for v, author, item in waiting.values():
        data = node.content(author, item)
        if data is None:
            continue
        secret = node.secrets[item[2]]
        got = data.decode(), derived(secret, b"content").hex(), derived(secret, b"structure").hex()
        check.equal(got, (v["data"], v["content_key"], v["structure_key"]), "spaces-sealed", v["id"])
        names = [bytes.fromhex(one) for one in v["dependencies"]]
        verdict = "Withdrawn" if node.is_withdrawn(author, v["seq"], names) else "Stands"
        check.equal(verdict, v["verdict"], "spaces-sealed", v["data"], "verdict")
        shown += [v["data"]] if verdict == "Stands" else []
    wanted = next(one["shows"] for one in file["nodes"] if one["author"] == node.author.hex())
    check.equal(sorted(shown), wanted, "spaces-sealed", "shows")
