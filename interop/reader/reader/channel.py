"""X3DH (encryption.md 8) and the two-party channel 2SM (9)."""

from . import cbor, sealing, shapes
from .sealing import Refused

NOW = 1_750_000_000  # inside the lifetimes of the vectors


# ---- bundles (5) ----


def check_bundle(bundle, now=NOW):
    """5.5; the signature covers the 32 bytes of the pre-key."""
    key, lifetime = bundle["signed_prekey"]
    if not lifetime["not_before"] < now < lifetime["not_after"]:
        raise Refused("lifetime")
    onetime = bundle.get("onetime_prekey")
    public = [bundle["identity_key"], key] + ([onetime[0]] if onetime else [])
    if any(map(sealing.has_small_order, public)):
        raise Refused("small order")
    if not sealing.xverify(key, bundle["identity_key"], bundle["prekey_signature"]):
        raise Refused("signature")


def latest(bundles, now=NOW):
    """5.6: of those valid now, by the start, the end and the pre-key."""
    def rank(bundle):
        key, lifetime = bundle["signed_prekey"]
        return lifetime["not_before"], lifetime["not_after"], key

    def valid(bundle):
        _, lifetime = bundle["signed_prekey"]
        return lifetime["not_before"] < now < lifetime["not_after"]

    return max(filter(valid, bundles), key=rank, default=None)


# ---- X3DH ----


def input_of(agreements):
    return b"\xff" * 32 + b"".join(agreements)


def message_key(agreements):
    key = sealing.hkdf(bytes(32), input_of(agreements), b"p2panda", 32)
    return key, sealing.hkdf(b"", key, b"", 12)


def sender_agreements(identity, ephemeral, bundle):
    """DH1 to DH4 of 8.1."""
    onetime = bundle.get("onetime_prekey")
    pairs = [(identity, bundle["signed_prekey"][0]), (ephemeral, bundle["identity_key"]),
             (ephemeral, bundle["signed_prekey"][0])] + ([(ephemeral, onetime[0])] if onetime else [])
    return [sealing.agree(secret, key) for secret, key in pairs]


def receiver_agreements(own, prekey, onetime, identity_key, ephemeral_key):
    pairs = [(prekey, identity_key), (own, ephemeral_key), (prekey, ephemeral_key)]
    pairs += [(onetime, ephemeral_key)] if onetime else []
    return [sealing.agree(secret, key) for secret, key in pairs]


def x3dh_encrypt(plaintext, identity, ephemeral, bundle):
    check_bundle(bundle)
    key, nonce = message_key(sender_agreements(identity, ephemeral, bundle))
    own = sealing.public(identity)
    return {"prekey_id": bundle["signed_prekey"][0], "identity_key": own, "ephemeral_key": sealing.public(ephemeral),
            "ciphertext": sealing.seal(key, nonce, own + bundle["identity_key"], plaintext),
            "onetime_prekey_id": (bundle.get("onetime_prekey") or (None, None))[1]}


def x3dh_decrypt(message, own, prekey, onetime):
    agreements = receiver_agreements(own, prekey, onetime, message["identity_key"], message["ephemeral_key"])
    key, nonce = message_key(agreements)
    return sealing.unseal(key, nonce, message["identity_key"] + sealing.public(own), message["ciphertext"])


def own_prekeys(own_keys, message):
    """The pre-key and the one-time secret that a first message names."""
    entry = own_keys["prekeys"].get(message["prekey_id"])
    if entry is None:
        raise Refused("pre-key")
    if message["onetime_prekey_id"] is None:
        return entry["secret"], None
    found = own_keys["onetime_secrets"].get(message["onetime_prekey_id"])
    if found is None or found[0] != message["prekey_id"]:
        raise Refused("one-time key")
    return entry["secret"], found[1]


# ---- 2SM ----


class Channel:
    """One side: the state of 9.1, own keys, and what 9.6 and 9.7 remember."""

    def __init__(self, state, own_keys):
        self.state, self.own_keys = dict(state), own_keys
        self.opened, self.generation, self.own_generation = set(), 0, False

    def draw(self, random):
        """9.2 but for the ciphertext: what is sealed, and the own state after it."""
        a, b = sealing.clamp(random.take(32)), sealing.clamp(random.take(32))
        state = self.state
        body = {"receiver_new_secret": b, "sender_new_verifying_key": sealing.public(a),
                "sender_next_index": state["our_next_key_index"], "generation": None}
        before = dict(state)
        state["our_secret_keys"] = {**state["our_secret_keys"], state["our_next_key_index"]: a}
        state["our_next_key_index"] += 1
        state["their_verifying_key"] = sealing.public(b)
        state["their_next_key_used"], state["their_prekey_bundle"] = ("ReceivedKey", None), None
        return before, body

    def send(self, random, plaintext):
        """The message of 9.2, or nothing where it is HPKE, whose ephemeral key is not recorded."""
        before, body = self.draw(random)
        return self.seal(random, before, body, plaintext)

    def seal(self, random, before, body, plaintext):
        if before["their_verifying_key"] is not None:
            return None
        body = shapes.PLAINTEXT.encode({**body, "plaintext": plaintext})
        bundle = before["their_prekey_bundle"]
        if isinstance(bundle, cbor.Map):
            bundle = shapes.ONETIME_BUNDLE.read(bundle)
        if bundle is None:
            raise Refused("PreKeyReuse")
        ephemeral = sealing.clamp(random.take(32))
        first = x3dh_encrypt(body, self.own_keys["identity_secret"], ephemeral, bundle)
        return shapes.TWO_PARTY.encode({"key_used": before["their_next_key_used"], "ciphertext": ("PreKey", first)})

    def receive(self, message, expected_identity=None):
        """9.3; nothing changes where it is refused (9.4)."""
        (label, index), (kind, sealed), state = message["key_used"], message["ciphertext"], self.state
        if (label == "PreKey") != (kind == "PreKey"):
            raise Refused("label")
        if kind == "PreKey":
            opened = self.open_first(sealed, expected_identity)
        else:
            secret = state["our_received_secret_key"] if label == "ReceivedKey" else state["our_secret_keys"].get(index)
            if secret is None:
                raise Refused("key")
            opened = sealing.hpke_open(secret, sealed["kem_output"], sealed["ciphertext"])
        body = shapes.PLAINTEXT.decode(opened)
        if sealing.has_small_order(body["sender_new_verifying_key"]):
            raise Refused("small order")
        if kind == "PreKey":
            self.opened.add(sealed["ephemeral_key"])
            self.own_keys["onetime_secrets"].pop(sealed["onetime_prekey_id"], None)
        if label == "OwnKey":
            kept = {i: secret for i, secret in state["our_secret_keys"].items() if i > index}
            state.update(our_secret_keys=kept, our_min_key_index=index + 1)
        state["their_verifying_key"] = body["sender_new_verifying_key"]
        state["their_next_key_used"] = "OwnKey", body["sender_next_index"]
        state["our_received_secret_key"], state["their_prekey_bundle"] = body["receiver_new_secret"], None
        return body["plaintext"]

    def open_first(self, sealed, expected_identity):
        if sealed["ephemeral_key"] in self.opened:
            raise Refused("replay")
        if expected_identity not in (None, sealed["identity_key"]):
            raise Refused("IdentityMismatch")
        return x3dh_decrypt(sealed, self.own_keys["identity_secret"], *own_prekeys(self.own_keys, sealed))


EMPTY = {"our_secret_keys": {}, "our_min_key_index": 1, "our_next_key_index": 1, "their_next_key_used": ("PreKey", None),
         "their_prekey_bundle": None, "their_verifying_key": None, "our_received_secret_key": None}


# ---- vectors ----


def read(check):
    read_bundles(check, check.file("encryption-key-bundles.json"))
    for number, case in enumerate(check.file("encryption-x3dh.json")["cases"]):
        read_x3dh(check, case, ("encryption-x3dh", number))
    file = check.file("encryption-2sm.json")
    serial, crossed = file["conversations"]
    read_conversation(check, serial)
    read_crossed(check, crossed)


def accepted(function, *arguments):
    """The value, or nothing where it is refused."""
    try:
        return function(*arguments)
    except (Refused, cbor.Invalid):
        return None


KINDS = {"PublicKey": shapes.KEY, "Lifetime": shapes.LIFETIME, "PreKey": shapes.PREKEY, "XSignature": shapes.SIGNATURE,
         "OneTimePreKey": shapes.ONETIME_PREKEY, "SecretKey": shapes.KEY, "LongTermKeyBundle": shapes.LONGTERM_BUNDLE,
         "OneTimeKeyBundle": shapes.ONETIME_BUNDLE}


def read_bundles(check, file):
    name = "encryption-key-bundles"
    for number, v in enumerate(file["encodings"]):
        kind, data = KINDS[v["type"].split()[0]], bytes.fromhex(v["cbor"])
        value = kind.decode(data)
        check.equal(kind.encode(value), data, name, number, v["type"])
        for field, got in (("hex", value), ("key", value)):
            if field in v:
                check.equal((got[0] if isinstance(got, tuple) else got).hex(), v[field], name, number)
        if "random" in v:
            check.equal(value, sealing.clamp(bytes.fromhex(v["random"])), name, number)
    for v in file["decoding"]:
        got = accepted(shapes.LONGTERM_BUNDLE.decode, bytes.fromhex(v["cbor"])) is not None
        wanted = v["reference"] == "accepts" and v["case"] != "one trailing byte"  # H10
        check.equal(got, wanted, name, v["case"])
    for v in file["verify"]:
        bundle = shapes.LONGTERM_BUNDLE.decode(bytes.fromhex(v["cbor"]))
        got = accepted(lambda: check_bundle(bundle) or True) is not None
        check.equal(got, v["expect"] == "accept", name, "verify", v["case"])
    bundles = [shapes.LONGTERM_BUNDLE.decode(bytes.fromhex(one)) for one in file["latest_selection"]["bundles"]]
    starts = [one["signed_prekey"][1]["not_before"] for one in bundles if one["signed_prekey"][1]["not_after"] > NOW]
    check.equal(latest(bundles)["signed_prekey"][1]["not_before"], max(one for one in starts if one < NOW), name, "5.6")
    for v in file["key_manager_states"]:
        data = bytes.fromhex(v["cbor"])
        kind = shapes.OWN_PREKEYS if v["after"].startswith("prekey_bundles") else shapes.OWN_KEYS
        check.equal(kind.encode(kind.decode(data)), data, name, v["after"])
    for v in file["key_registry"]["steps"]:
        data = bytes.fromhex(v["cbor"])
        check.equal(shapes.REGISTRY.encode(shapes.REGISTRY.decode(data)), data, name, v["after"])
    read_drawn(check, file)


def read_drawn(check, file):
    """6.2: what a rotation draws."""
    made = next(v for v in file["encodings"] if v["type"] == "LongTermKeyBundle")
    random = sealing.Random(bytes.fromhex(made["rng_seed"]))
    identity = sealing.clamp(bytes.fromhex(made["identity_secret_random"]))
    bundle = shapes.LONGTERM_BUNDLE.decode(bytes.fromhex(made["cbor"]))
    key = sealing.public(sealing.clamp(random.take(32)))
    got = key, sealing.public(identity), sealing.xsign(key, identity, random.take(64))
    wanted = bundle["signed_prekey"][0], bundle["identity_key"], bundle["prekey_signature"]
    check.equal(got, wanted, "encryption-key-bundles", "rotation")


def read_x3dh(check, v, names):
    def secret(field):
        return bytes.fromhex(v[field]) if v.get(field) else None

    own = secret("bob_identity_secret"), secret("bob_prekey_secret"), secret("bob_onetime_secret")
    if "required_of_us" in v:
        message = shapes.X3DH.decode(bytes.fromhex(v["ciphertext_cbor"]))
        check.equal(accepted(x3dh_decrypt, message, *own), None, *names, v["case"])
        return
    bundle = shapes.ONETIME_BUNDLE.decode(bytes.fromhex(v["bundle_cbor"]))
    alice, ephemeral = secret("alice_identity_secret"), secret("ephemeral_secret")
    check.equal(sealing.clamp(sealing.Random(bytes.fromhex(v["rng_seed"])).take(32)), ephemeral, *names, "ephemeral")
    agreements = sender_agreements(alice, ephemeral, bundle)
    wanted = [v[field] for field in ("dh1", "dh2", "dh3", "dh4") if v[field]]
    check.equal([one.hex() for one in agreements], wanted, *names, "agreements")
    key, nonce = message_key(agreements)
    check.equal([input_of(agreements).hex(), key.hex(), nonce.hex()], [v["ikm"], v["sk"], v["nonce"]], *names, "key")
    plaintext, data = bytes.fromhex(v["plaintext"]), bytes.fromhex(v["ciphertext_cbor"])
    written = shapes.X3DH.encode(x3dh_encrypt(plaintext, alice, ephemeral, bundle))
    check.equal(written, data, *names, "written")
    check.equal(x3dh_decrypt(shapes.X3DH.decode(data), *own), plaintext, *names, "read")
    for one in v["reject"]:
        message = shapes.X3DH.decode(bytes.fromhex(one["cbor"]))
        onetime = own[2] if message["onetime_prekey_id"] is not None else None
        check.equal(accepted(x3dh_decrypt, message, own[0], own[1], onetime), None, *names, one["why"])


def read_conversation(check, v):
    initial = v["initial"]
    sides = {name: Channel(shapes.CHANNEL.decode(bytes.fromhex(initial[f"{name}_state"])),
                           shapes.OWN_KEYS.decode(bytes.fromhex(initial[f"{name}_key_manager"])))
             for name in ("alice", "bob")}
    run(check, sides, v["steps"], ("encryption-2sm", v["name"]))


def copied(side):
    twin = Channel(side.state, {name: dict(x) if isinstance(x, dict) else x for name, x in side.own_keys.items()})
    twin.opened = set(side.opened)
    return twin


def run(check, sides, steps, names):
    for step in steps:
        if "branch" in step:
            run(check, {name: copied(side) for name, side in sides.items()}, step["steps"], names + (step["branch"],))
        elif step["do"] == "send":
            side = sides[step["from"]]
            made = side.send(sealing.Random(bytes.fromhex(step["rng_seed"])), bytes.fromhex(step["plaintext"]))
            if made:
                check.equal(made.hex(), step["message_cbor"], *names, step["step"])
            check.equal(side.state, shapes.CHANNEL.decode(bytes.fromhex(step["sender_state_after"])), *names, step["step"])
        else:
            take(check, sides[step["by"]], step, names + (step["step"],))


def take(check, side, step, names):
    before = dict(side.state)
    got = accepted(lambda: side.receive(shapes.TWO_PARTY.decode(bytes.fromhex(step["message_cbor"]))))
    if step.get("expect") == "reject":
        check.equal((got, side.state), (None, before), *names, step["why"])
        return
    check.equal(got, bytes.fromhex(step["plaintext"]), *names)
    check.equal(side.state, shapes.CHANNEL.decode(bytes.fromhex(step["receiver_state_after"])), *names, "state")
    own_keys = shapes.OWN_KEYS.decode(bytes.fromhex(step["receiver_key_manager_after"]))
    check.equal(side.own_keys["onetime_secrets"], own_keys["onetime_secrets"], *names, "one-time keys")


def read_crossed(check, v):
    """9.7.1: of two very first messages each side goes on from the other's."""
    names, others = ("encryption-2sm", v["name"]), {"alice": "bob", "bob": "alice"}
    sides = {}
    for name, other in others.items():
        bundle = shapes.ONETIME_BUNDLE.decode(bytes.fromhex(v[f"{other}_bundle"]))
        own_keys = shapes.OWN_KEYS.decode(bytes.fromhex(v[f"{name}_key_manager"]))
        sides[name] = Channel({**EMPTY, "their_prekey_bundle": bundle}, own_keys)
    for name, side in sides.items():
        message = v[f"{name}_message"]
        side.draw(sealing.Random(bytes.fromhex(message["rng_seed"])))
        check.equal(side.state, shapes.CHANNEL.decode(bytes.fromhex(message["state_after"])), *names, name)
    for name, other in others.items():
        sides[name].receive(shapes.TWO_PARTY.decode(bytes.fromhex(v[f"{other}_message"]["cbor"])))
        wanted = shapes.CHANNEL.decode(bytes.fromhex(v[f"{name}_after_receive"]))
        check.equal(sides[name].state, wanted, *names, name, "received")
    third = v["third"]
    sides["alice"].draw(sealing.Random(bytes.fromhex(third["rng_seed"])))
    sides["bob"].receive(shapes.TWO_PARTY.decode(bytes.fromhex(third["cbor"])))
    for name in others:
        check.equal(sides[name].state, shapes.CHANNEL.decode(bytes.fromhex(third[f"{name}_state"])), *names, "third")
