"""The message scheme (encryption.md 11)."""

from . import channel, sealing, shapes
from .channel import Channel, accepted
from .keys import digest
from .sealing import Refused, hkdf

WELCOME, ADD = digest(b"welcome"), digest(b"add")
LAST = 2**32 - 1


# ---- message ratchet (11.5) ----


def material(secret):
    return hkdf(b"key", secret, b"", 32), hkdf(b"nonce", secret, b"", 12)


class Window:
    """What a receiver keeps of a sender's ratchet (11.5.1)."""

    def __init__(self, secret, forward_max=1000, late_max=100):
        self.secret, self.head, self.kept = secret, 0, []  # newest first; none once used
        self.forward_max, self.late_max = forward_max, late_max

    def key_for(self, generation):
        if self.head < LAST - self.forward_max and generation > self.head + self.forward_max:
            raise Refused("TooDistantInTheFuture")
        if generation < self.head:
            back = self.head - generation
            if back > self.late_max:
                raise Refused("TooDistantInThePast")
            if back > len(self.kept):
                raise Refused("IndexOutOfBounds")
            found, self.kept[back - 1] = self.kept[back - 1], None
            if found is None:
                raise Refused("SecretReuse")
            return found
        while self.head < generation:
            self.step(material(self.secret))
        found = material(self.secret)
        self.step(None)
        return found

    def step(self, kept):
        self.kept = ([kept] + self.kept)[: self.late_max]
        self.secret, self.head = hkdf(b"chain", self.secret, b"", 32), self.head + 1

    def neutral(self):
        return {"past_secrets": self.kept, "ratchet_head": {"secret": self.secret, "generation": self.head}}


# ---- who knows whom (11.1) ----


class Views:
    def __init__(self, members=()):
        self.adds = {one: set(members) for one in members}
        self.removals, self.operations = {}, {}

    def copy(self):
        twin = Views()
        twin.adds = {one: set(found) for one, found in self.adds.items()}
        twin.removals = {one: set(found) for one, found in self.removals.items()}
        twin.operations = dict(self.operations)
        return twin

    def of(self, member):
        """The members that `member` counts, as far as we know."""
        known = {one for one, found in self.adds.items() if member in found}
        return {one for one in known if member not in self.removals.get(one, ())}

    def members(self):
        return set(self.adds) - set(self.removals)

    def add(self, adder, added, operation):
        for one in self.of(adder):
            self.adds[one].add(added)
        for found in self.removals.values():
            if adder in found:
                found.add(added)
        self.adds[added] = {adder, added}
        self.operations[operation] = self.adds, added

    def remove(self, remover, removed, operation):
        self.removals.setdefault(removed, set()).add(remover)
        self.operations[operation] = self.removals, removed

    def acknowledge(self, member, operation):
        found, concerned = self.operations.get(operation, (None, None))
        if found is not None and not (found is self.removals and concerned == member):
            found[concerned].add(member)


# ---- a member (11.2 and 11.3) ----


class Member:
    def __init__(self, state):
        self.me, self.keys, self.registry = state["my_id"], state["my_keys"], state["pki"]
        self.ratchet, self.secrets, self.channels, self.views = dict(state["ratchet"]), {}, {}, Views()
        self.windows, self.own = {}, None  # by sender; the own message ratchet

    def identity(self, member):
        return self.registry["identities"][member]

    def member_secret(self, seed, member):
        return hkdf(b"update", seed + self.identity(member), b"", 32)

    def update_ratchet(self, member, secret):
        ikm = self.ratchet.get(member, b"") + secret + self.identity(member)
        self.ratchet[member] = hkdf(b"chain", ikm, b"", 32)
        return hkdf(b"update", ikm, b"", 32)

    def channel(self, peer):
        return self.channels.setdefault(peer, Channel(channel.EMPTY, self.keys))

    def open(self, sender, direct, kind):
        if direct is None:
            return None
        if direct["recipient"] != self.me:
            raise Refused("NotOurDirectMessage")
        found, content = direct["content"]
        if found != kind:
            raise Refused("UnexpectedDirectMessage")
        opened = self.channel(sender).receive(content["ciphertext"], self.identity(sender))
        if len(opened) != 32:
            raise Refused("InvalidKeySize")
        return opened

    def send(self, random, peers, payload):
        """The channels to some members after a direct message; first messages as sent."""
        made = {}
        for peer in peers:
            side = self.channel(peer)
            if side.state["their_verifying_key"] is None:
                side.state["their_prekey_bundle"] = self.registry["onetime_bundles"][peer].pop()
            before, body = side.draw(random)
            made[peer] = side.seal(random, before, body, payload[peer] if isinstance(payload, dict) else payload)
        return made

    def process_ack(self, acker, sender, operation, forward=None):
        self.views.acknowledge(acker, operation)
        added = self.views.operations.get(operation, (None, None))
        secret = self.secrets.pop((sender, operation, acker), None) or forward
        if secret is None:
            return None
        if added[0] is self.views.adds and added[1] == acker:
            self.ratchet.pop(acker, None)
        return self.update_ratchet(acker, secret)

    def process_seed(self, sender, operation, recipients, seed):
        """The update secrets of sender and self, and what is handed on."""
        for one in recipients:
            self.secrets[sender, operation, one] = self.member_secret(seed, one)
        theirs = self.update_ratchet(sender, self.member_secret(seed, sender))
        if sender == self.me:
            return theirs, None, {}
        mine = self.secrets[sender, operation, self.me]
        forward = self.views.members() - {sender, self.me} - set(recipients)  # our view is the membership now
        return theirs, self.process_ack(self.me, sender, operation), dict.fromkeys(forward, mine)

    def process_add(self, sender, operation, added, direct, history):
        if added == self.me:
            self.ratchet[sender] = self.open(sender, direct, "Welcome")
            known = history.of(sender)
            self.views = history.copy()
            self.views.add(sender, added, operation)
            mine = self.update_ratchet(sender, WELCOME)
            self.secrets[sender, operation, self.me] = mine
            theirs = self.update_ratchet(sender, ADD)
            forward = self.views.members() - {sender, self.me} - known
            return theirs, self.process_ack(self.me, sender, operation), dict.fromkeys(forward, mine)
        theirs, follows = None, self.me in self.views.of(sender)
        self.views.add(sender, added, operation)
        if follows:
            self.secrets[sender, operation, added] = self.update_ratchet(sender, WELCOME)
            theirs = self.update_ratchet(sender, ADD)
        if sender == self.me:
            return theirs, None, {}
        forward = {added: self.ratchet[self.me]}
        return theirs, self.process_add_ack(self.me, operation), forward

    def process_add_ack(self, acker, operation, chain=None):
        self.views.acknowledge(acker, operation)
        if chain:
            self.ratchet[acker] = chain
        if self.me in self.views.of(acker) and acker in self.ratchet:
            return self.update_ratchet(acker, ADD)
        return None

    def receive(self, sender, operation, control, direct, recipients, history=None):
        """One control message: the update secrets of its sender and of self, what is handed on, and the answer."""
        name, fields = control
        if name in ("Create", "Update", "Remove"):
            if sender == self.me:
                raise Refused("OwnMessage")
            if name == "Create":
                if sender not in fields["initial_members"]:
                    raise Refused("SenderNotAMember")
                self.views = Views(fields["initial_members"])
            elif self.me not in self.views.members():
                raise Refused("GroupNotYetEstablished")
            seed = self.open(sender, direct, "TwoParty")
            if name == "Remove":
                self.views.remove(sender, fields["removed"], operation)
            if seed is None:
                if name == "Create":
                    raise Refused("MissingDirectMessage")
                return None, None, {}, "Ack"
            return *self.process_seed(sender, operation, recipients, seed), "Ack"
        if name == "Add":
            answer = "Ack" if fields["added"] == self.me else "AddAck"
            if answer == "Ack" and direct is None:
                raise Refused("MissingDirectMessage")
            return *self.process_add(sender, operation, fields["added"], direct, history), answer
        if self.me not in self.views.members():
            raise Refused("GroupNotYetEstablished")
        handed = self.open(sender, direct, "Forward")
        if name == "Ack":
            theirs = self.process_ack(sender, fields["ack_sender"], fields["ack_seq"], handed)
        else:
            theirs = self.process_add_ack(sender, fields["ack_seq"], handed)
        return theirs, None, {}, None


# ---- vectors ----


def read(check):
    file = check.file("encryption-message-scheme.json")
    check.equal([WELCOME.hex(), ADD.hex()], [file["constants"]["welcome"], file["constants"]["add"]], "constants")
    for v in file["control_messages"]:
        data = bytes.fromhex(v["cbor"])
        check.equal(shapes.MESSAGE_CONTROL.encode(shapes.MESSAGE_CONTROL.decode(data)), data, "message", v["kind"])
    read_ratchet(check, file["message_ratchet"])
    for number, v in enumerate(file["decryption_windows"]):
        read_window(check, v, bytes.fromhex(file["message_ratchet"]["update_secret"]), number)
    Life(check, file["members"], file["life"], "life").run()
    for v in file["concurrency"]:
        Life(check, v["members"], v["steps"], v["name"]).run()
    overrides = {one["case"]: one for one in check.file("encryption-overrides.json")["overrides"]}
    for v in check.file("encryption-invalid.json")["message_scheme_processing"]:
        read_processing(check, v, overrides)


def read_ratchet(check, file):
    secret = bytes.fromhex(file["update_secret"])
    for v in file["generations"]:
        key, nonce = material(secret)
        following = hkdf(b"chain", secret, b"", 32)
        got = [secret.hex(), key.hex(), nonce.hex(), following.hex()]
        wanted = [v[field] for field in ("chain_secret", "key", "nonce", "next_chain_secret")]
        check.equal(got, wanted, "ratchet", v["generation"])
        sealed = sealing.seal(key, nonce, b"", bytes.fromhex(v["plaintext"]))
        check.equal(sealed.hex(), v["ciphertext"], "ratchet", v["generation"])
        state = shapes.RATCHET.decode(bytes.fromhex(v["state_after_cbor"]))
        check.equal(state, {"secret": following, "generation": v["generation"] + 1}, "ratchet", v["generation"])
        secret = following


ERRORS = {"TooDistantInTheFuture": "too far into the future", "TooDistantInThePast": "too far into the past",
          "SecretReuse": "re-use", "IndexOutOfBounds": "out of bounds"}


def read_window(check, v, secret, number):
    window = Window(secret, v["maximum_forward_distance"], v["out_of_order_tolerance"])
    for place, request in enumerate(v["requests"]):
        where = ("window", number, place)
        try:
            key, nonce = window.key_for(request["generation"])
        except Refused as reason:
            check.equal(ERRORS[str(reason)] in request.get("error", ""), True, *where, str(reason), request)
            continue
        check.equal({"key": key.hex(), "nonce": nonce.hex()}, request.get("ok"), *where)
        if request["state_after_cbor"]:
            state = shapes.WINDOW.decode(bytes.fromhex(request["state_after_cbor"]))
            check.equal(window.neutral(), state, *where, "state")


def without_bundles(channels):
    """17.3: bundles inside channels are left out."""
    return {peer: {**state, "their_prekey_bundle": None} for peer, state in channels.items()}


class Life:
    """All members of a recorded life; what each holds is compared after each step."""

    def __init__(self, check, members, steps, name):
        self.check, self.steps, self.name = check, steps, name
        self.ids = {one["name"]: bytes.fromhex(one["id"]) for one in members}
        self.members = {}
        for one in members:
            keys = shapes.OWN_KEYS.decode(bytes.fromhex(one["key_manager_cbor"]))
            registry = shapes.REGISTRY.decode(bytes.fromhex(one["key_registry_cbor"]))
            state = {"my_id": self.ids[one["name"]], "my_keys": keys, "pki": registry, "ratchet": {}}
            self.members[one["name"]] = Member(state)
        self.messages = {}

    def equal(self, got, wanted, *where):
        self.check.equal(got, wanted, "message", self.name, *where)

    def run(self):
        for number, step in enumerate(self.steps):
            where = number, step["do"]
            if step["do"] == "send":
                self.send(step, where)
                continue
            deliver = step["do"] == "deliver"
            member = self.members[step["to" if deliver else "by"]]
            mine, theirs = (self.deliver if deliver else self.produce)(member, step, where)
            self.equal(mine and mine.hex(), step["my_update_secret"], *where, "own update secret")
            if deliver:
                self.equal(theirs and theirs.hex(), step["sender_update_secret"], *where, "sender's update secret")
                self.views(member, step, where)
            if mine:
                member.own = Window(mine)
            state = shapes.MESSAGE_STATE.decode(bytes.fromhex(step["state_after"]))
            self.equal(member.ratchet, state["ratchet"], *where, "chains")
            self.equal(member.secrets, state["member_secrets"], *where, "member secrets")
            got = {peer: one.state for peer, one in member.channels.items()}
            self.equal(without_bundles(got), without_bundles(state["two_party"]), *where, "channels")

    def views(self, member, step, where):
        """11.1. 0.7.1 does not record acknowledgements of removals, this page does."""
        for name, recorded in step["member_views"].items():
            viewer, recorded = self.ids[name], {self.ids[one] for one in recorded}
            got = member.views.members() if viewer == member.me else member.views.of(viewer)
            late = {one for one, found in member.views.removals.items() if viewer in found}
            self.equal(got, recorded - late, *where, "view of", name)

    def directs(self, found):
        return {self.ids[one["to"]]: shapes.DIRECT.decode(bytes.fromhex(one["cbor"])) for one in found}

    def produce(self, member, step, where):
        """11.3 as the author: its seed, the channels, then the own operation by its id (11.3.1)."""
        control = shapes.MESSAGE_CONTROL.decode(bytes.fromhex(step["control_message_cbor"]))
        operation, directs = bytes.fromhex(step["operation_id"]), self.directs(step["direct_messages"])
        random, (name, fields) = sealing.Random(bytes.fromhex(step["rng_seed"])), control
        history = member.views.copy()
        if name == "Add":
            payload = member.ratchet[member.me]
        else:
            payload = random.take(32)
        made = member.send(random, list(directs), payload)
        self.compare(made, directs, where)
        self.messages[step["message"]] = member.me, operation, control, directs, history
        if name == "Add":
            mine, _, _ = member.process_add(member.me, operation, fields["added"], None, None)
            return mine, None
        if name == "Create":
            member.views = Views(fields["initial_members"])
        elif name == "Remove":
            member.views.remove(member.me, fields["removed"], operation)
        self.equal(set(directs), member.views.members() - {member.me}, *where, "recipients")
        mine, _, _ = member.process_seed(member.me, operation, list(directs), payload)
        return mine, None

    def compare(self, made, directs, where):
        for peer, message in made.items():
            if message:
                got = shapes.TWO_PARTY.encode(directs[peer]["content"][1]["ciphertext"])
                self.equal(message, got, *where, "first message")

    def deliver(self, member, step, where):
        sender, operation, control, directs, history = self.messages[step["message"]]
        theirs, mine, forward, answer = member.receive(
            sender, operation, control, directs.get(member.me), list(directs), history)
        if theirs:
            member.windows[sender] = Window(theirs)
        if mine:
            member.own = Window(mine)
        found = step["answer"]
        self.equal(answer is None, found is None, *where, "answer")
        if found:
            wanted = shapes.MESSAGE_CONTROL.decode(bytes.fromhex(found["control_message_cbor"]))
            self.equal((answer, {"ack_seq": operation, "ack_sender": sender}), wanted, *where, "answer")
            handed = self.directs(found["direct_messages"])
            self.equal(set(forward), set(handed), *where, "handed on")
            made = member.send(sealing.Random(bytes.fromhex(step["rng_seed"])), list(handed), forward)
            self.compare(made, handed, where)
            answered = bytes.fromhex(found["operation_id"])
            self.messages[found["message"]] = member.me, answered, wanted, handed, None
        return mine, theirs

    def send(self, step, where):
        own = self.members[step["by"]].own
        check = {"secret": own.secret, "generation": own.head}
        self.equal(check, shapes.RATCHET.decode(bytes.fromhex(step["ratchet_before"])), *where, "own ratchet")
        generation, (key, nonce) = own.head, own.key_for(own.head)
        got = generation, key.hex(), nonce.hex()
        self.equal(got, (step["generation"], step["key_material"]["key"], step["key_material"]["nonce"]), *where)
        plaintext = bytes.fromhex(step["plaintext"])
        sealed = sealing.seal(key, nonce, b"", plaintext)
        self.equal(sealed.hex(), step["ciphertext"], *where)
        for name, verdict in step["receivers"].items():
            window = self.members[name].windows.get(self.ids[step["by"]])
            opened = accepted(lambda: sealing.unseal(*window.key_for(generation), b"", sealed)) if window else None
            self.equal(opened, plaintext if verdict == "decrypts" else None, *where, name, verdict)


def read_processing(check, v, overrides):
    state = shapes.MESSAGE_STATE.decode(bytes.fromhex(v["bob_state"]))
    control = shapes.MESSAGE_CONTROL.decode(bytes.fromhex(v["control_message_cbor"]))
    data, sender = v["direct_message_cbor"], bytes.fromhex(v["sender"])
    direct = shapes.DIRECT.decode(bytes.fromhex(data)) if data else None
    member = Member(state)

    def receive():
        return member.receive(sender, bytes.fromhex(v["operation_id"]), control, direct, [member.me])

    got = accepted(receive) is not None
    wanted = v["reference"].startswith("accepts") and v["case"] not in overrides
    check.equal(got, wanted, "encryption-invalid", v["case"])
