"""Suite 2 of the two-party channels (encryption-hybrid.md)."""

from . import cbor, channel, sealing, shapes
from .keys import public
from .sealing import Context, Refused, XWing

# 4.1
HYBRID_BUNDLE = shapes.struct(xwing=shapes.fixed(1216), suites=shapes.many(shapes.number(8), 16),
                              signature=shapes.SIGNATURE, identity_key=shapes.KEY, signed_prekey=shapes.PREKEY)
FIRST = shapes.row(shapes.KEY, shapes.KEY, shapes.KEY, shapes.maybe(shapes.U64), shapes.fixed(1120), shapes.BYTES)
HYBRID = shapes.row(shapes.U64, shapes.U64, shapes.fixed(1120), shapes.BYTES)
CHAINED = shapes.row(shapes.U64, shapes.KEY, shapes.BYTES)


def signed_bytes(bundle):
    key, lifetime = bundle["signed_prekey"]
    times = [lifetime[name].to_bytes(8, "big") for name in ("not_before", "not_after")]
    return b"".join([b"p2panda hybrid bundle", bundle["identity_key"], key, bundle["xwing"], *times, bytes(bundle["suites"])])


def check_bundle(bundle, now=channel.NOW):
    """4.1.1; whether the ML-KEM part is reduced, an encapsulation would show."""
    key, lifetime = bundle["signed_prekey"]
    if not lifetime["not_before"] < now < lifetime["not_after"]:
        raise Refused("lifetime")
    if 2 not in bundle["suites"] or sorted(set(bundle["suites"])) != bundle["suites"]:
        raise Refused("suites")
    if any(map(sealing.has_small_order, (bundle["identity_key"], key, bundle["xwing"][1184:]))):
        raise Refused("small order")
    if not sealing.xverify(signed_bytes(bundle), bundle["identity_key"], bundle["signature"]):
        raise Refused("signature")


def key_used(label):
    """5.2: the label as 3.3 writes it."""
    return "ReceivedKey" if label == 0 else {"OwnKey": label}


def chained_context(info, agreement, ephemeral, receiver, chain):
    return Context(b"HPKE" + sealing.BASE_SUITE, sealing.dhkem(agreement, ephemeral, receiver), info, chain)


def hybrid_context(info, shared, chained):
    return Context(b"HPKE" + sealing.XWING_SUITE, shared, info, chained.export(b"hybrid psk"))


def first_context(info, agreements, shared):
    secret = sealing.hkdf(bytes(32), channel.input_of(agreements) + shared, b"p2panda hybrid x3dh", 32)
    return Context(b"X3DH" + sealing.XWING_SUITE, secret, info)


class Keys:
    """Identity, pre-key and X-Wing pre-key of one member."""

    def __init__(self, identity, prekey, seed, onetime=()):
        self.identity, self.prekey, self.xwing = identity, prekey, XWing(seed)
        self.onetime = dict(onetime)


class Side:
    """One side of a channel (5.1)."""

    def __init__(self, group, me, peer, keys):
        self.group, self.me, self.peer, self.keys = group, me, peer, keys
        self.own, self.seeds, self.received, self.received_seed = {}, {}, None, None
        self.next, self.label, self.xwing_label, self.chained = 1, None, 0, 0

    def kind(self, hybrid_every):
        """5.5, as the number of elements: first, hybrid or chained."""
        if self.label is None:
            return 2
        return 4 if self.chained + 1 >= hybrid_every else 3

    def info(self, sender):
        other = self.peer if sender == self.me else self.me
        return cbor.encode(["p2panda 2sm", 2, self.group, sender, other])

    def sent(self, context, secret, seed):
        """5.3: what the sender keeps of its message."""
        self.own[self.next] = secret, context.export(b"sender chain")
        self.label, self.chained = 0, self.chained + 1
        if seed is not None:
            self.seeds[self.next], self.xwing_label, self.chained = XWing(seed), 0, 0
        self.next += 1

    def keys_of(self, label):
        found = self.received if label == 0 else self.own.get(label)
        if found is None:
            raise Refused("key")
        return found

    def receive(self, data):
        """5.4: the body, and the context and associated data that the message was sealed with."""
        item, info = cbor.decode(data), self.info(self.peer)
        if not isinstance(item, list) or len(item) not in (2, 3, 4):
            raise Refused("kind")
        if len(item) == 2:
            opened = self.open_first(item, info)
        elif len(item) == 4:
            opened = self.open_hybrid(HYBRID.read(item), info)
        else:
            opened = self.open_chained(CHAINED.read(item), info)
        (context, aad), ciphertext = opened, (item[1][5] if len(item) == 2 else item[-1])
        body = cbor.decode(context.open(aad, ciphertext))
        plaintext, announced, index = shapes.row(shapes.BYTES, shapes.BYTES, shapes.U64).read(body)
        if len(announced) != (32 if len(item) == 3 else 1248):
            raise Refused("announced")
        self.took(item, context)
        return plaintext, announced, index, context, aad

    def took(self, item, context):
        self.received = sealing.clamp(context.export(b"receiver key")), context.export(b"receiver chain")
        if len(item) != 3:
            self.received_seed = XWing(context.export(b"receiver seed"))
        label = item[0] or 0
        if label:
            self.own = {i: one for i, one in self.own.items() if i > label}
            newest = max((i for i in self.seeds if i <= label), default=0)
            self.seeds = {i: one for i, one in self.seeds.items() if i >= newest}
        if len(item) == 4 and item[1]:
            self.seeds = {i: one for i, one in self.seeds.items() if i > item[1]}

    def open_first(self, item, info):
        if item[0] is not None:
            raise Refused("kind")
        prekey_id, identity, ephemeral, onetime_id, encapsulation, _ = FIRST.read(item[1])
        keys = self.keys
        if prekey_id != sealing.public(keys.prekey):
            raise Refused("pre-key")
        onetime = keys.onetime[onetime_id] if onetime_id is not None else None
        agreements = channel.receiver_agreements(keys.identity, keys.prekey, onetime, identity, ephemeral)
        aad = ["first", identity, sealing.public(keys.identity), prekey_id, keys.xwing.public, onetime_id]
        return first_context(info, agreements, keys.xwing.open(encapsulation)), cbor.encode(aad)

    def open_chained(self, message, info):
        label, ephemeral, _ = message
        secret, chain = self.keys_of(label)
        agreement = sealing.agree(secret, ephemeral)
        context = chained_context(info, agreement, ephemeral, sealing.public(secret), chain)
        return context, cbor.encode(["chained", key_used(label)])

    def open_hybrid(self, message, info):
        label, xwing_label, encapsulation, _ = message
        secret, chain = self.keys_of(label)
        seed = self.received_seed if xwing_label == 0 else self.seeds.get(xwing_label)
        if seed is None:
            raise Refused("seed")
        ephemeral = encapsulation[1088:]  # 3.2.1
        chained = chained_context(info, sealing.agree(secret, ephemeral), ephemeral, sealing.public(secret), chain)
        aad = cbor.encode(["hybrid", key_used(label), key_used(xwing_label)])
        return hybrid_context(info, seed.open(encapsulation), chained), aad


# ---- vectors ----


def read(check):
    file = check.file("encryption-hybrid.json")
    for number, v in enumerate(file["x_wing"]):
        read_xwing(check, v, number)
    for v in file["conversations"]:
        read_conversation(check, v)


def read_xwing(check, v, number):
    pair = XWing(bytes.fromhex(v["seed"]))
    check.equal(pair.public.hex(), v["public_key"], "x_wing", number, "public key")
    encapsulation = bytes.fromhex(v["encapsulation"])
    check.equal(pair.open(encapsulation).hex(), v["shared_secret"], "x_wing", number, "opened")
    ephemeral = bytes.fromhex(v["randomness"])[32:]  # 3.2.1: its public half ends the encapsulation
    check.equal(sealing.public(ephemeral), encapsulation[1088:], "x_wing", number, "ephemeral key")


def read_conversation(check, v):
    """Both sides from the seed: each message is opened, and written again from what its sender draws (7)."""
    random = sealing.Random(bytes.fromhex(v["rng_seed"]))
    drawn = [[random.take(size) for size in (32, 32, 64, 32, 64)] for _ in v["signing_keys"]]
    members = [public(bytes.fromhex(key)) for key in v["signing_keys"]]
    group, sides = bytes.fromhex(v["group"]), []
    for number, (identity, prekey, _, seed, _) in enumerate(drawn):
        keys = Keys(sealing.clamp(identity), sealing.clamp(prekey), seed)
        sides.append(Side(group, members[number], members[1 - number], keys))
    for place, step in enumerate(v["steps"]):
        sender, receiver = sides[step["from"]], sides[1 - step["from"]]
        read_step(check, random, sender, receiver, step, ("conversation", place))


def read_step(check, random, sender, receiver, step, names):
    data = bytes.fromhex(step["message"])
    item = cbor.decode(data)
    check.equal(len(item), sender.kind(step["hybrid_every"]), *names, "kind (5.5)")
    plaintext, announced, index, context, aad = receiver.receive(data)
    check.equal(plaintext.hex(), step["plaintext"], *names, "opened")
    secret, seed = sealing.clamp(random.take(32)), None
    ephemeral = sealing.clamp(random.take(32)) if len(item) != 4 else None
    encapsulating = random.take(64) if len(item) != 3 else None
    if len(item) != 3:
        seed = random.take(32)
    wanted = sealing.public(secret) + (XWing(seed).public if seed else b"")
    check.equal((announced, index), (wanted, sender.next), *names, "announced")
    body = cbor.encode([plaintext, wanted, sender.next])
    sealed = context.seal(aad, body)
    if len(item) == 2:
        found = FIRST.read(item[1])
        head = [sealing.public(receiver.keys.prekey), sealing.public(sender.keys.identity), sealing.public(ephemeral)]
        made = [None, [*head, None, found[4], sealed]]
        check.equal(found[4][1088:], sealing.public(encapsulating[32:]), *names, "encapsulation")
    elif len(item) == 4:
        made = [sender.label, sender.xwing_label, item[2], sealed]
        check.equal(item[2][1088:], sealing.public(encapsulating[32:]), *names, "encapsulation")
    else:
        made = [sender.label, sealing.public(ephemeral), sealed]
    check.equal(cbor.encode(made), data, *names, "written")
    receiver.label = index
    if len(item) != 3:
        receiver.xwing_label = index
    sender.sent(context, secret, seed)
