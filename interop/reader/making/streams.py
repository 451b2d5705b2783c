"""The ladder of streams.md 4.1, with its order."""

from reader import cbor, ingest, keys, operations

from .operations import MICROS, head

TOPICS = [b"\1" * 32, b"\2" * 32]
SEED, OTHER = b"\x09" * 32, b"\x0a" * 32


def ladder():
    named, cases = {}, []

    def op(name, seq, past=None, prune=False, topic=0, body=b"\x61x", seed=SEED, extensions=None, log=None, time=0):
        log_id = keys.digest(TOPICS[topic])
        if log:
            log_id = keys.derive_key("p2panda named log id v1", TOPICS[topic] + keys.digest(log))
        if extensions is None:
            extensions = operations.encode_extensions(log_id, MICROS + time, prune, (), log and keys.digest(log))
        backlink = keys.digest(named[past][0]) if past else b"\7" * 32 if seq else None
        named[name] = (operations.build_header(seed, body, seq, backlink, extensions or None)[2], body)

    op("a0", 0)
    op("a1", 1, "a0")
    op("a2", 2, "a1")
    op("a3", 3, "a2")
    op("other a1", 1, "a0", time=1)
    op("other a2", 2, "other a1")
    op("a1 of nothing", 1)
    op("prune a1", 1, "a0", prune=True, time=2)
    op("prune a2 of the other a1", 2, "other a1", prune=True)
    op("prune a2", 2, "a1", prune=True, time=3)
    op("prune a9", 9, prune=True)
    op("prune last", 2**32 - 1, prune=True)
    op("other last", 2**32 - 1, time=4)
    op("b0", 0, topic=1)
    op("b5", 5, topic=1)
    op("b0 variant 1", 0, topic=1, extensions=cbor.encode([1, 1, keys.digest(TOPICS[1])]))
    op("no extensions", 0, extensions=b"", seed=OTHER)
    op("wrong extensions", 0, extensions=cbor.encode([1, 0]), seed=OTHER)
    op("named 0", 0, log=b"photos")
    op("named 0 without its name", 0, extensions=operations.encode_extensions(
        keys.derive_key("p2panda named log id v1", TOPICS[0] + keys.digest(b"photos")), MICROS))
    header, body = named["a0"]
    named["forged"] = (header[:-1] + bytes([header[-1] ^ 1]), body)
    named["garbage"] = (b"\x83\1\2\3", None)

    def put(name, description, *steps):
        written = [{"operation": one} if isinstance(one, str) else one for one in steps]
        run = [one | ({"other_body": bytes.fromhex(one["other_body"])} if "other_body" in one else {}) for one in written]
        outcomes, logs = ingest.run(named, TOPICS, run)
        cases.append({"name": name, "description": description, "steps": written, "outcomes": outcomes, "logs": logs})

    bare = lambda name: {"operation": name, "body": False}
    wrong = lambda name: {"operation": name, "other_body": "6179"}
    elsewhere = lambda name: {"operation": name, "topic": 1}
    put("in_order", "Two entries", "a0", "a1")
    put("twice", "A duplicate", "a0", "a0")
    put("wrong_topic_before_duplicate", "The same operation in another topic is refused, stored or not", "a0", elsewhere("a0"))
    put("stored_in_its_own_topic", "And enters where it belongs", elsewhere("a0"), "a0")
    put("wrong_topic_before_gap", "An operation of another topic is never early", "b5")
    put("unknown_before_topic", "The log id of unknown extensions cannot be read", "b0 variant 1", elsewhere("b0 variant 1"))
    put("no_extensions", "", "no extensions")
    put("wrong_extensions", "", "wrong extensions")
    put("undecodable", "", "garbage")
    put("signature", "", "forged")
    put("body_before_duplicate", "Another body: the header is not looked at", "a0", wrong("a0"))
    put("body_first", "Another body: the header is not stored", wrong("a0"), "a0")
    put("body_later", "A body is filled in once", bare("a0"), "a0", "a0", bare("a0"))
    put("early", "Above a gap; enters when that closes", "a0", "a2", "a1", "a2")
    put("early_of_nothing", "The first entry is missing", "a1", "a0")
    put("fork_at_a_taken_seq", "The first branch stays", "a0", "a1", "other a1", "a2")
    put("fork_at_a_taken_seq_with_prune_flag", "A prune flag does not take a place", "a0", "a1", "prune a1", "a2")
    put("child_of_another_branch", "The backlink names another predecessor", "a0", "a1", "other a2")
    put("prune_of_another_branch", "With a prune flag the log begins anew: no evidence", "a0", "a1", "prune a2 of the other a1", "a1")
    put("prune_next", "What was before goes", "a0", "a1", "prune a2", "a0", "a1", "prune a2", "a3")
    put("prune_closes_gaps", "Above a gap; what is early below is dropped", "a0", "a3", "prune a9", "a3")
    put("prune_first", "A log that begins with it", "prune a9", "a0")
    put("prune_without_body", "A snapshot that is withheld prunes when it comes", "a0", "a1", bare("prune a2"), "prune a2", "a0")
    put("prune_without_body_above_a_gap", "Waits for the gap or its body", "a0", bare("prune a9"), "prune a9", "a0")
    put("full_log", "Nothing follows the last seq; another operation there is a fork", "prune last", "other last", "prune last")
    put("named_log", "A log of its own, and only with its name", "a0", "named 0", "named 0 without its name")
    return head("streams.md 4.1 and 5.1, by one node that begins with nothing. A step hands an operation to a session of "
                "topic 0 or of the one that it names, with its body, without (`body: false`) or with another one. `outcomes`: of "
                "each step, in order; a rejected one with its reason (4.8). `logs`: what is stored in the end, by topic and label: the "
                "height, where the log begins, and the seqs of which there is fork evidence", "streams.md", cases,
                topics=[one.hex() for one in TOPICS],
                operations={name: {"header": h.hex(), "body": b and b.hex()} for name, (h, b) in named.items()})


FILES = {"streams-ingest.json": ladder}
