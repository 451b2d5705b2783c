"""Traces of two nodes that both dial (sync.md 11)."""

from reader import pair

from .operations import head


def two_dials():
    cases = []

    def put(name, description, stored, *steps):
        stored = dict(zip(pair.SIDES, stored))
        written = [{kind: value if kind == "dial" else list(value)} for kind, value in steps]
        cases.append({"name": name, "description": description, "stored": stored, "steps": written,
                      "sessions": pair.run(stored, written)})

    dial = lambda who: ("dial", who)
    begin = lambda n: [("begin", (n, who)) for who in pair.SIDES]
    # A round delivers what waits on both sides.
    rounds = lambda n, count: [("deliver", (n, who)) for _ in range(count) for who in pair.SIDES]
    put("primary_alone", "The smaller node id dials: heights at once", (2, 1), dial("smaller"), *begin(0))
    put("secondary_alone", "The larger one dials and there is no primary: nobody waits", (2, 1), dial("larger"), *begin(0))
    put("secondary_alone_to_the_end", "It is a session like others", (2, 1), dial("larger"), *begin(0), *rounds(0, 4))
    put("secondary_waits", "While the primary is in catch-up, no heights on the secondary", (2, 1),
        dial("smaller"), dial("larger"), *begin(0), *begin(1))
    put("one_side_is_live", "Where the primary is live the heights go out, the other side still waits", (0, 0),
        dial("smaller"), dial("larger"), *begin(0), *begin(1), ("deliver", (0, "smaller")), ("deliver", (0, "larger")))
    put("secondary_goes_on", "Then with heights that include what came", (2, 1),
        dial("smaller"), dial("larger"), *begin(0), *begin(1), *rounds(0, 4))
    put("secondary_closes", "Nothing is missing on it, and both sides close it", (2, 1),
        dial("smaller"), dial("larger"), *begin(0), *begin(1), *rounds(0, 4), *rounds(1, 4))
    put("secondary_first", "A secondary that has begun goes on beside the primary", (0, 0),
        dial("larger"), *begin(0), ("deliver", (0, "smaller")), ("deliver", (0, "larger")), dial("smaller"), *begin(1))
    put("second_primary", "A second primary becomes live: its dialler closes the first one", (1, 1),
        dial("smaller"), *begin(0), *rounds(0, 4), dial("smaller"), *begin(1), *rounds(1, 4), *rounds(0, 2))
    return head("Two nodes on one topic (sync.md 11). Each has stored so many entries of its own log. `steps`: `dial`, who dials a "
                "session, numbered from 0, of which the topic handshake is over; `begin`, a session begins on one side; `deliver`, all that "
                "waits on a session for one side arrives. The side does all it can after each message and step. `sessions`: what each side has sent on "
                "each session, and how it stands: `catch-up`, `live`, `closing` (Close was sent), `completed`", "sync.md", cases)


FILES = {"sync-two-dials.json": two_dials}
