"""Primitives, malformed input and the data scheme (encryption.md 2, 3 and 10)."""

import hashlib

from . import channel, keys, sealing, shapes
from .channel import Channel, accepted


def group_secret_id(secret):
    return hashlib.sha256(secret).digest()


def bundle_of(secrets):
    """10.1: by id; a known id keeps its first timestamp (H5)."""
    out = {}
    for secret, timestamp in secrets:
        out.setdefault(group_secret_id(secret), (secret, timestamp))
    return out


def latest_of(bundle):
    return max(bundle, key=lambda one: (bundle[one][1], one), default=None)


class Mismatch(sealing.Refused):
    pass


class Member:
    """A member of a group of the data scheme: 13.5, its secrets, and who is a member."""

    def __init__(self, state):
        self.state, self.secrets, self.members = state, {}, set()
        self.channels = {peer: Channel(one, state["my_keys"]) for peer, one in state["two_party"].items()}

    def channel(self, peer):
        if peer not in self.channels:
            bundles = self.state["pki"]["longterm_bundles"].get(peer, [])
            self.channels[peer] = Channel({**channel.EMPTY, "their_prekey_bundle": channel.latest(bundles)},
                                          self.state["my_keys"])
        return self.channels[peer]

    def process(self, sender, control, direct):
        """10.2: nothing, a secret or a bundle."""
        name, fields = control
        me, identities = self.state["my_id"], self.state["pki"]["identities"]
        if direct and direct["recipient"] != me:
            raise Mismatch("NotOurDirectMessage")
        kind, content = direct["content"] if direct else (None, None)
        added = name == "Add" and fields["added"] == me
        if added and kind != "Welcome":
            raise Mismatch("MissingDirectMessage" if kind is None else "UnexpectedDirectMessage")
        if name == "Create" and sender not in fields["initial_members"]:
            raise Mismatch("SenderNotAMember")
        opened = None
        if kind:
            if kind not in ("Welcome", "TwoParty"):
                raise Mismatch("UnexpectedDirectMessage")
            opened = self.channel(sender).receive(content["ciphertext"], identities.get(sender))
        self.apply(control, content if added else None)
        if opened is None:
            return None
        got = shapes.SECRET_BUNDLE.decode(opened) if kind == "Welcome" else [shapes.GROUP_SECRET.decode(opened)]
        self.secrets = {**bundle_of(got), **self.secrets}
        return got if kind == "Welcome" else got[0]

    def apply(self, control, welcome=None):
        name, fields = control
        if welcome:
            self.members = {shapes.MEMBER.read(one) for one in welcome["history"].get("members")}
        if name == "Create":
            self.members = set(fields["initial_members"])
        elif name == "Add":
            self.members.add(fields["added"])
        elif name == "Remove":
            self.members.discard(fields["removed"])


# ---- vectors ----


def read(check):
    read_primitives(check, check.file("encryption-primitives.json"))
    read_decoding(check, check.file("encryption-invalid.json")["decoding"])
    file = check.file("encryption-data-scheme.json")
    for v in file["control_messages"]:
        data = bytes.fromhex(v["cbor"])
        check.equal(shapes.DATA_CONTROL.encode(shapes.DATA_CONTROL.decode(data)), data, "data", v["kind"])
    for number, v in enumerate(file["latest_rule"]):
        bundle = bundle_of(shapes.SECRET_BUNDLE.decode(bytes.fromhex(v["bundle_cbor_one_possible_order"])))
        latest = latest_of(bundle)
        check.equal(latest and latest.hex(), v["latest"], "latest_rule", number)
        got = [[one.hex(), bundle[one][1]] for one in sorted(bundle)]
        check.equal(got, sorted([one["id"], one["timestamp"]] for one in v["secrets"]), "latest_rule", number)
    names = {one["name"]: bytes.fromhex(one["id"]) for one in file["members"]}
    run_life(check, names, file["life"], ("data", "life"))
    for case in file["concurrency"]:
        run_life(check, names, case["steps"], ("data", case["name"]))
    for v in file["process_errors"]:
        read_processing(check, v)


def read_primitives(check, file):
    name = "encryption-primitives"
    random = sealing.Random(bytes.fromhex(file["rng"]["seed"]))
    check.equal(random.take(160).hex(), file["rng"]["first_160_bytes"], name, "rng")
    for v in file["sha2"]:
        data = b"".join(map(bytes.fromhex, v["in"]))
        check.equal([hashlib.sha256(data).hexdigest(), hashlib.sha512(data).hexdigest()], [v["sha256"], v["sha512"]], name)
    for v in file["hkdf_sha256"]:
        salt, ikm, info = (bytes.fromhex(v[field]) for field in ("salt", "ikm", "info"))
        check.equal(sealing.hkdf(salt, ikm, info, v["len"]).hex(), v["okm"], name, "hkdf")
    for v in file["x25519"]:
        a, b = (sealing.clamp(bytes.fromhex(v[f"{one}_random"])) for one in "ab")
        got = [one.hex() for one in (a, b, sealing.public(a), sealing.public(b), sealing.agree(a, sealing.public(b)))]
        check.equal(got, [v[one] for one in ("a_secret_stored", "b_secret_stored", "a_public", "b_public", "shared")], name)
    for v in file["x25519_low_order"]:
        check.equal(sealing.has_small_order(bytes.fromhex(v["u"])), True, name, "small order", v["u"])
    for kind, write, open_ in (("chacha20poly1305", sealing.seal, sealing.unseal),
                               ("xchacha20poly1305", sealing.xseal, sealing.xunseal)):
        for v in file[kind]:
            key, nonce, aad, sealed = (bytes.fromhex(v[field]) for field in ("key", "nonce", "aad", "ciphertext"))
            got = accepted(open_, key, nonce, aad, sealed)
            check.equal(got, None if "expect" in v else bytes.fromhex(v["plaintext"]), name, kind)
            if got is not None:
                check.equal(write(key, nonce, aad, got), sealed, name, kind)
    read_hpke(check, file["hpke_base_x25519_sha256_chacha20poly1305"])
    for v in file["xeddsa"]:
        secret, message, z = (bytes.fromhex(v[field]) for field in ("secret", "message", "z"))
        check.equal(sealing.Random(bytes.fromhex(v["z_rng_seed"])).take(64), z, name, "z")
        check.equal(sealing.xsign(message, secret, z).hex(), v["signature"], name, "xeddsa")
        check.equal(sealing.xverify(message, sealing.public(secret), bytes.fromhex(v["signature"])), True, name, "xeddsa")
    for v in file["xeddsa_negative"]:
        message, public, signature = (bytes.fromhex(v[field]) for field in ("message", "public", "signature"))
        check.equal(sealing.xverify(message, public, signature), False, name, v["case"])


def read_hpke(check, cases):
    for v in cases:
        secret, info, aad = (bytes.fromhex(v.get(field) or "") for field in ("receiver_secret", "info", "aad"))

        def opened():
            item = shapes.HPKE.decode(bytes.fromhex(v["cbor"]))
            return sealing.hpke_open(secret, item["kem_output"], item["ciphertext"], info, aad)

        wanted = None if v["kind"] == "reject" else bytes.fromhex(v["plaintext"])
        check.equal(accepted(opened), wanted, "hpke", v.get("why", v["kind"]))
        if "ephemeral_secret" in v:
            ephemeral, receiver = bytes.fromhex(v["ephemeral_secret"]), bytes.fromhex(v["receiver_public"])
            agreement, public = sealing.agree(ephemeral, receiver), sealing.public(ephemeral)
            context = sealing.base_context(agreement, public, receiver, info)
            got = [sealing.dhkem(agreement, public, receiver), context.key, context.nonce, context.seal(aad, wanted)]
            fields = ("shared_secret", "aead_key", "aead_nonce", "ciphertext")
            check.equal([one.hex() for one in got], [v[field] for field in fields], "hpke", "written")


def read_decoding(check, cases):
    kinds = {"TwoPartyMessage": shapes.TWO_PARTY, "data ControlMessage": shapes.DATA_CONTROL,
             "message ControlMessage": shapes.MESSAGE_CONTROL, "GroupSecret": shapes.GROUP_SECRET,
             "SecretBundle": shapes.SECRET_BUNDLE}
    for v in cases:
        got = accepted(kinds[v["type"]].decode, bytes.fromhex(v["cbor"]))
        check.equal(got is not None, v["reference"] == "accepts", "encryption-invalid", v["case"])
        if v["case"].startswith("the same secret twice"):  # H5: the first timestamp stays
            check.equal(list(bundle_of(got).values()), got[:1], "encryption-invalid", "H5")


def run_life(check, names, steps, about):
    """Every member that acts or receives, from its first recorded state on."""
    members, messages = {}, {}
    for number, step in enumerate(steps):
        where = (*about, number, step["do"])
        if step["do"] == "deliver":
            member = member_of(members, names, step["to"], steps)
            sender, control, directs = messages[step["message"]]
            direct = directs.get(names[step["to"]])
            check.equal(output_of(member.process(sender, control, direct)), neutral(step["output"]), *where, "output")
            check.equal(member.members, {names[one] for one in step["members"]}, *where, "members")
        elif step["do"] == "encrypt":
            read_data(check, members, names, step, where)
            continue
        elif step["do"] == "remove_secret":
            member = members[step["by"]]
            del member.secrets[bytes.fromhex(step["id"])]
        else:
            member = member_of(members, names, step["by"], steps)
            messages[step["message"]] = produce(check, member, names, step, where)
        check_state(check, member, step, where)


def member_of(members, names, name, steps):
    """A member begins with the state before its first act, or an empty one with the keys of its later states."""
    if name not in members:
        for step in steps:
            if name in (step.get("by"), step.get("to")) and "state_after" in step:
                state = shapes.DATA_STATE.decode(bytes.fromhex(step.get("state_before", step["state_after"])))
                members[name] = Member({**state, "two_party": {}})
                break
    return members[name]


def output_of(got):
    if got is None:
        return "none"
    return {"secret": got} if isinstance(got, tuple) else {"bundle": bundle_of(got)}


def neutral(output):
    if isinstance(output, str):
        return output
    if "secret" in output:
        return {"secret": shapes.GROUP_SECRET.decode(bytes.fromhex(output["secret"]))}
    return {"bundle": bundle_of(shapes.GROUP_SECRET.decode(bytes.fromhex(one["cbor"])) for one in output["bundle"]["secrets"])}


def produce(check, member, names, step, where):
    """10.2 as its author; keys and X3DH ephemerals are drawn recipient after recipient (3.1)."""
    control = shapes.DATA_CONTROL.decode(bytes.fromhex(step["control_message_cbor"]))
    directs = {names[one["to"]]: shapes.DIRECT.decode(bytes.fromhex(one["cbor"])) for one in step["direct_messages"]}
    before = set(member.members)
    member.apply(control)
    if step["new_secret"]:
        secret = shapes.GROUP_SECRET.decode(bytes.fromhex(step["new_secret"]["cbor"]))
        check.equal(group_secret_id(secret[0]).hex(), step["new_secret"]["id"], *where, "id")
        payload = shapes.GROUP_SECRET.encode(secret)
        recipients = member.members | ({member.state["my_id"]} if control[0] == "Remove" else set())
        check.equal(set(directs), recipients - {member.state["my_id"]}, *where, "recipients")
    else:
        history = next(iter(directs.values()))["content"][1]["history"]
        check.equal({shapes.MEMBER.read(one) for one in history.get("members")}, before, *where, "history")
        payload = None
    random = sealing.Random(bytes.fromhex(step["rng_seed"]))
    for peer, direct in directs.items():
        before, body = member.channel(peer).draw(random)
        made = member.channel(peer).seal(random, before, body, payload or bytes())
        if made and payload:
            check.equal(made, shapes.TWO_PARTY.encode(direct["content"][1]["ciphertext"]), *where, "first message")
    if step["new_secret"]:
        member.secrets[group_secret_id(secret[0])] = secret
    return member.state["my_id"], control, directs


def check_state(check, member, step, where):
    bundle = {bytes.fromhex(one["id"]): shapes.GROUP_SECRET.decode(bytes.fromhex(one["cbor"]))
              for one in step["bundle_after"]["secrets"]}
    check.equal(member.secrets, bundle, *where, "bundle")
    check.equal(latest_of(member.secrets).hex(), step["bundle_after"]["latest"], *where, "latest")
    if "state_after" in step:
        state = shapes.DATA_STATE.decode(bytes.fromhex(step["state_after"]))
        got = {peer: one.state for peer, one in member.channels.items()}
        check.equal(got, state["two_party"], *where, "channels")


def read_data(check, members, names, step, where):
    nonce, secret_id = bytes.fromhex(step["nonce"]), bytes.fromhex(step["group_secret_id"])
    plaintext, sealed = bytes.fromhex(step["plaintext"]), bytes.fromhex(step["ciphertext"])
    check.equal(sealing.Random(bytes.fromhex(step["rng_seed"])).take(24), nonce, *where, "nonce")
    got = {}
    for name in names:
        secret = members[name].secrets.get(secret_id) if name in members else None
        opened = secret and sealing.xunseal(secret[0], nonce, b"", sealed)
        got[name] = "decrypts" if opened == plaintext else "unknown secret"
    check.equal(got, step["at_this_moment"], *where)
    check.equal(sealing.xseal(members[step["by"]].secrets[secret_id][0], nonce, b"", plaintext), sealed, *where)


def read_processing(check, v):
    member = Member(shapes.DATA_STATE.decode(bytes.fromhex(v["state"])))
    control = shapes.DATA_CONTROL.decode(bytes.fromhex(v["control_message_cbor"]))
    data = v["direct_message_cbor"]
    direct = shapes.DIRECT.decode(bytes.fromhex(data)) if data else None
    try:
        got = member.process(keys_of(v["sender"]), control, direct)
        got = "accepted, output none" if got is None else "accepted"
    except sealing.Refused:
        got = "rejected"
    wanted = "rejected" if v["case"].startswith("right message attributed") else v["result"].split(":")[0]  # H3
    check.equal(got, wanted, "data", v["case"])


def keys_of(text):
    key = bytes.fromhex(text)
    assert keys.is_point(key)
    return key
