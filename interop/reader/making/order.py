"""The order stage of streams.md 6: what a feed shows, and when."""

from reader import keys, operations, order

from .operations import MICROS, head

TOPIC = b"\1" * 32
LOG = keys.digest(TOPIC)
PHOTOS = keys.digest(b"photos")
PHOTOS_LOG = keys.derive_key("p2panda named log id v1", TOPIC + PHOTOS)
SECOND = order.SECOND


def feed():
    named, ids, cases = {}, {}, []

    def op(name, author, seq, past=None, deps=(), prune=False, log=None, time=0, size=None, place=None):
        """Named by the word that it says; `deps` are names, or places that nobody has."""
        seed = bytes([author]) * 32
        found = [place_of(one) if isinstance(one, str) else one for one in deps]
        extensions = operations.encode_extensions(log or LOG, MICROS + time, prune, found, PHOTOS if log else None)
        body = name.encode() if size is None else b"x" * size
        backlink = ids[past] if past else b"\7" * 32 if seq else None
        header = operations.build_header(seed, body, seq, backlink, extensions)[2]
        named[name], ids[name] = (header, body), keys.digest(header)

    def place_of(name):
        header = operations.decode_header(named[name][0])
        extensions = operations.node_extensions(header)
        return header.author, extensions.log_id if extensions.name else None, header.seq, ids[name]

    op("question", 1, 0)
    op("question 1", 1, 1, "question")
    op("other question 1", 1, 1, "question", time=1)
    op("snapshot", 1, 9, prune=True)
    op("answer", 2, 0, deps=["question"])
    op("more", 2, 1, "answer")
    op("second answer", 2, 1, "answer", deps=["question 1"])
    op("thanks", 3, 0, deps=["answer"])
    op("to the other branch", 4, 0, deps=["other question 1"])
    op("photo", 1, 0, log=PHOTOS_LOG)
    op("about the photo", 5, 0, deps=["photo"])
    op("own photo", 6, 0, log=PHOTOS_LOG)
    op("about my photo", 6, 0, deps=["own photo"])
    op("both", 7, 0, deps=["question", "photo"])
    op("hello", 8, 0)
    circle = [(keys.public(bytes([one]) * 32), None, 0, b"\5" * 32) for one in (9, 10)]
    op("circle 1", 9, 0, deps=circle[1:])
    op("circle 2", 10, 0, deps=circle[:1])
    twice = (keys.public(b"\1" * 32), None)
    op("names a log twice", 11, 0, deps=[(*twice, 0, b"\5" * 32), (*twice, 1, b"\6" * 32)])
    op("names itself", 12, 0, deps=[(keys.public(b"\x0c" * 32), None, 0, b"\5" * 32)])
    for n in range(3):
        op(f"large {n}", 20 + n, 0, size=2000)

    def put(name, description, *steps):
        written = [{"operation": one} if isinstance(one, str) else one for one in steps]
        cases.append({"name": name, "description": description, "steps": written,
                      "shown": order.run(TOPIC, named, written)})

    bare = lambda name: {"operation": name, "body": False}
    wait = lambda us: {"wait_us": us}
    begins = lambda n: {"session": n, "phase": "catch_up"}
    live = lambda n: {"session": n, "phase": "live"}
    ends = lambda n: {"session": n, "phase": "ended"}
    put("in_order", "Each is shown when it comes", "question", "answer", "thanks")
    put("answer_first", "The answer waits for its question", "answer", "question")
    put("chain_backwards", "The beginning of a chain releases all of it", "thanks", "answer", "question")
    put("others_are_shown", "One that waits holds up its own log only", "answer", "more", "hello", "question")
    put("never_comes", "After the causal wait it is shown with what it lacks", "answer", wait(5 * SECOND - 1), wait(1), "more")
    put("comes_after_all", "What was given up is shown when it comes", "answer", wait(5 * SECOND), "question", "second answer", "question 1")
    put("second_deadline", "What arrives later in a waiting log waits from its own arrival",
        "answer", wait(3 * SECOND), "second answer", wait(2 * SECOND), wait(3 * SECOND - 1), wait(1))
    put("one_of_two", "All dependencies are met or named as missing", "both", "photo", wait(5 * SECOND))
    put("without_its_body", "A dependency without its body is met; its body is shown when it comes",
        "answer", bare("question"), "question")
    put("waiting_without_its_body", "A body that comes meanwhile is shown in order", bare("answer"), "answer", "question")
    put("another_branch", "The id of a dependency is not compared", "to the other branch", "question", "question 1")
    put("a_higher_seq", "A pruned place meets a dependency on it", "answer", "second answer", "snapshot")
    put("named_log", "A dependency on a log with a name is met in that log only", "about the photo", "question", "photo")
    put("another_log_of_its_author", "Also on one of the same author", "about my photo", "own photo")
    put("circle", "Operations that wait for each other are shown after the wait", "circle 1", "circle 2", wait(5 * SECOND))
    put("names_a_log_twice", "No list of dependencies: nothing to wait for", "names a log twice")
    put("names_itself", "An entry of the log itself is met, since a log is in order", "names itself")
    put("catch_up", "The wait begins when the session has become live",
        begins(1), "answer", wait(20 * SECOND), live(1), wait(5 * SECOND - 1), wait(1))
    put("catch_up_ends", "Or has ended", begins(1), "answer", wait(20 * SECOND), ends(1), wait(5 * SECOND))
    put("catch_up_brings_it", "A question that comes meanwhile", begins(1), "answer", wait(20 * SECOND), "question")
    put("later_session", "A session that began after the arrival does not count",
        "answer", wait(SECOND), begins(1), wait(4 * SECOND))
    put("last_of_two", "All sessions of that moment count", begins(1), begins(2), "answer", wait(SECOND), live(1),
        wait(10 * SECOND), live(2), wait(5 * SECOND))
    put("no_progress", "A session that brings nothing is left out after 30 s", begins(1), "answer", wait(30 * SECOND - 1), wait(1))
    put("no_progress_at_the_end", "But not before the causal wait is over", begins(1), wait(28 * SECOND), "answer",
        wait(5 * SECOND - 1), wait(1))
    put("progress", "One that brings 1 920 bytes in 30 s goes on to count", begins(1), "answer", wait(29 * SECOND), "large 0",
        wait(29 * SECOND), "large 1", wait(30 * SECOND - 1), wait(1))
    put("counts_again", "One that was left out counts again for what arrives from then on", begins(1), wait(30 * SECOND),
        "large 0", "answer", wait(10 * SECOND), live(1), wait(5 * SECOND))
    return head("streams.md 6, by one node that begins with nothing, with the default causal wait of 5 s. A step hands over an "
                "operation in session 1, with its body or without (`body: false`), lets time pass, or says that a session of the "
                "topic is in catch-up, live or has ended. `shown`: what each step adds to the feed, with the dependencies that are "
                "missing", "streams.md", cases, topic=TOPIC.hex(),
                operations={name: {"header": h.hex(), "body": b.hex()} for name, (h, b) in named.items()})


FILES = {"streams-order.json": feed}
