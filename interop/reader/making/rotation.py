"""Rotation by age of spaces.md 8.8: notes, messages, which of several counts, and when a secret is too old."""

from reader import cbor, keys, rotation, sealing
from reader.rotation import DAY, NAME, NOTE

from .operations import head

SPACE, STRUCTURE_KEY, NONCE = b"\x0a" * 32, b"\x05" * 32, b"\x07" * 24
BEFORE = keys.digest(b"the message before it")
T = 1_800_000_000


def notes():
    def case(name, data):
        return {"name": name, "bytes": data.hex(), "days": rotation.read_note(data)}

    item = lambda *parts: cbor.encode([NOTE, *parts])
    return [
        case("ends it", item(0)),
        case("one day", item(1)),
        case("a month", item(30)),
        case("the most", item(3650)),
        case("one more", item(3651)),
        case("more than 32 bits", item(2**32)),
        case("more than 32 bits, whose low ones are few", item(2**32 + 1)),
        case("the greatest number", item(2**64 - 1)),
        case("a negative number", item(-1)),
        case("a text", item("30")),
        case("null", item(None)),
        case("a fraction", b"\x82\x0b\xf9\x3c\x00"),
        case("no days", item()),
        case("one element too many", item(30, 30)),
        case("a number in more bytes than it needs", b"\x82\x0b\x18\x01"),
        case("a kind in more bytes than it needs", b"\x82\x18\x0b\x01"),
        case("an array without a length", b"\x9f\x0b\x01\xff"),
        case("it ends early", b"\x82\x0b"),
    ]


def messages():
    seed = b"\x01" * 32
    author = keys.public(seed)

    def case(name, description, notes):
        plain = cbor.encode([[BEFORE], [], None, [], [], [], False, None, notes])
        sealed = sealing.xseal(STRUCTURE_KEY, NONCE, b"control" + SPACE + author, plain)
        body = cbor.encode([1, 1, [], rotation.key_id(STRUCTURE_KEY), NONCE, sealed])
        made = {"name": name, "description": description, "space": SPACE.hex(), "author": author.hex(),
                "structure_key": STRUCTURE_KEY.hex(), "nonce": NONCE.hex(), "body": body.hex()}
        plain, days = rotation.read_message(made)
        return made | {"plaintext": plain.hex(), "days": days}

    return [
        case("one", "One note", [[NOTE, 30]]),
        case("none", "Without a note it says nothing of it", []),
        case("ends", "0 says that nobody rotates", [[NOTE, 0]]),
        case("two", "Of several in a message the last one counts", [[NOTE, 7], [NOTE, 30]]),
        case("two_the_last_ends", "Also if it is 0", [[NOTE, 7], [NOTE, 0]]),
        case("with_a_name", "Notes of other kinds may come with it", [[NOTE, 30], [NAME, "crew"]]),
        case("sixty_four", "As many as fit", [[NOTE, days] for days in range(1, 65)]),
        case("sixty_five", "One more than fits", [[NOTE, days] for days in range(1, 66)]),
        case("too_many_days", "More days than there may be", [[NOTE, 3651]]),
        case("too_many_days_first", "Also in a note that another one follows", [[NOTE, 3651], [NOTE, 30]]),
        case("three_elements", "A note of another length", [[NOTE, 30, 1]]),
    ]


def settings():
    def one(name, author, *days, names=(), refused=False, notes=None):
        found = [[NOTE, number] for number in days] if notes is None else notes
        return {"name": name, "author": author, "names": list(names), "notes": found, "refused": refused}

    def case(name, description, *messages):
        return {"name": name, "description": description, "messages": messages,
                "days": rotation.settled(messages)}

    named = [[NAME, "crew"]]
    return [
        case("nobody", "Nobody asks", one("a", "Ada", notes=named)),
        case("one", "One owner asks", one("a", "Ada", 30)),
        case("later_more", "A later note replaces it, with more days", one("a", "Ada", 7), one("b", "Ben", 90, names="a")),
        case("later_fewer", "With fewer", one("a", "Ada", 90), one("b", "Ben", 7, names="a")),
        case("later_ends", "Or ends it", one("a", "Ada", 7), one("b", "Ben", 0, names="a")),
        case("asked_again", "And it is asked for again", one("a", "Ada", 7), one("b", "Ben", 0, names="a"),
             one("c", "Cai", 30, names="b")),
        case("same_author", "An author has seen its message before, named or not", one("a", "Ada", 7), one("b", "Ada", 90)),
        case("through_another", "Seen through a message that says nothing of it", one("a", "Ada", 7),
             one("b", "Ben", notes=[], names="a"), one("c", "Cai", 90, names="b")),
        case("other_notes", "A note of another kind replaces nothing", one("a", "Ada", 7),
             one("b", "Ben", notes=named, names="a")),
        case("concurrent", "Of concurrent notes the fewest days count", one("a", "Ada", 30), one("b", "Ben", 7)),
        case("concurrent_end", "0 counts only without another one", one("a", "Ada", 0), one("b", "Ben", 30)),
        case("all_end", "All end it", one("a", "Ada", 0), one("b", "Ben", 0)),
        case("three", "Also of three", one("a", "Ada", 0), one("b", "Ben", 30), one("c", "Cai", 14)),
        case("joined", "One that has seen both replaces both", one("a", "Ada", 30), one("b", "Ben", 7),
             one("c", "Cai", 90, names="ab")),
        case("joined_end", "And ends both", one("a", "Ada", 30), one("b", "Ben", 7), one("c", "Cai", 0, names="ab")),
        case("seen_one_of_two", "One that has seen one of them is concurrent with the other", one("a", "Ada", 7),
             one("b", "Ben", 30), one("c", "Cai", 90, names="a")),
        case("two_in_one", "Of several in a message the last one counts", one("a", "Ada", 7, 30), one("b", "Ben", 60)),
        case("two_in_one_end", "0 as the last one of a message", one("a", "Ada", 7, 0), one("b", "Ben", 60)),
        case("refused", "A refused message does not count", one("a", "Ada", 30), one("b", "Dee", 1, refused=True)),
        case("refused_replaces_nothing", "Nor does it replace what it has seen", one("a", "Ada", 30),
             one("b", "Dee", 0, names="a", refused=True)),
        case("the_most", "The greatest number of days", one("a", "Ada", 3650)),
    ]


def verdicts():
    def case(name, description, role, *notes, role_now=None, pointer=False):
        made = {"name": name, "description": description, "role": role, "role_now": role_now or role, "pointer": pointer,
                "notes": list(notes)}
        decided = rotation.verdict(made)
        return made | {"verdict": decided, "days": rotation.asked(notes) if decided == "counts" else None}

    return [
        case("owner", "An owner asks", "owner", [NOTE, 30]),
        case("editor", "An editor may not", "editor", [NOTE, 30]),
        case("reader", "Nor may a reader", "reader", [NOTE, 30]),
        case("editor_ends", "Nor end it", "editor", [NOTE, 0]),
        case("with_a_pointer", "It comes without pointer", "owner", [NOTE, 30], pointer=True),
        case("with_a_name", "But with notes of other kinds", "owner", [NAME, "crew"], [NOTE, 30]),
        case("was_an_owner", "The role at the past of the message counts, also if another owner takes it concurrently",
             "owner", [NOTE, 30], role_now="editor"),
    ]


def due():
    def case(name, description, days, *steps):
        written = [{"now": now, "secret": secret, "date": date} for now, secret, date in steps]
        return {"name": name, "description": description, "days": days, "steps": rotation.look(days, written)}

    return [
        case("its_date", "The age counts from the date of the secret", 30,
             (T, "one", T), (T + 30 * DAY - 1, "one", T), (T + 30 * DAY, "one", T), (T + 30 * DAY + 9, "two", T + 30 * DAY + 5)),
        case("one_day", "After one day", 1, (T + DAY - 1, "one", T), (T + DAY, "one", T)),
        case("the_most", "After the greatest number of days", 3650, (T + 3650 * DAY - 1, "one", T), (T + 3650 * DAY, "one", T)),
        case("too_old_when_asked", "A secret may be too old at the first look", 1, (T + 20 * DAY, "one", T)),
        case("future", "A date in the future counts from when it was noticed", 2,
             (T, "one", T + 9 * DAY), (T + DAY, "one", T + 9 * DAY), (T + 2 * DAY - 1, "one", T + 9 * DAY),
             (T + 2 * DAY, "one", T + 9 * DAY)),
        case("future_again", "Each secret is noticed by itself", 2,
             (T, "one", T + 9 * DAY), (T + 2 * DAY, "two", T + 9 * DAY + 1), (T + 4 * DAY - 1, "two", T + 9 * DAY + 1),
             (T + 4 * DAY, "two", T + 9 * DAY + 1)),
        case("no_future_any_more", "Once the date is reached it counts", 5,
             (T, "one", T + 3 * DAY), (T + 3 * DAY - 1, "one", T + 3 * DAY), (T + 3 * DAY, "one", T + 3 * DAY),
             (T + 8 * DAY - 1, "one", T + 3 * DAY), (T + 8 * DAY, "one", T + 3 * DAY)),
        case("set_back", "A clock that is set back makes no secret older", 2,
             (T + DAY, "one", T + 9 * DAY), (T, "one", T + 9 * DAY), (T + 2 * DAY - 1, "one", T + 9 * DAY),
             (T + 2 * DAY, "one", T + 9 * DAY)),
        case("set_back_before_the_date", "A date that a clock was set back behind is in the future", 2,
             (T, "one", T), (T - 9 * DAY, "one", T), (T - 7 * DAY - 1, "one", T), (T - 7 * DAY, "one", T)),
    ]


def file():
    made = head("spaces.md 8.8, rotation by age; `days` is null where nobody asks for it. `notes`: one item each. `messages`: under "
                "`structure_key`; `days` is that of the note that counts, or `Malformed`. `settings`: each message comes after those "
                "that it names, and messages of one author are in order. `verdicts`: `role` is that of the author at the past of the "
                "message, `role_now` what it is once all is known; `pointer` points to an addition. `due`: looks of one owner, in order, "
                "in seconds since 1970", "spaces.md", notes(), "notes")
    return made | {"messages": messages(), "settings": settings(), "verdicts": verdicts(), "due": due()}


FILES = {"spaces-rotation.json": file}
