"""Scenarios of groups.md 4 and 9: bound group ids and Hardened rules."""

from reader import groups

from .operations import MADE

NONCE = b"\x0c" * 32


def individual(name):
    return {"individual": name}


def scenario(name, description, *operations):
    written = []
    for number, (author, group, dependencies, action, *nonce) in enumerate(operations):
        number = action.pop("id", number)
        one = {"id": number, "author": author, "group": group, "dependencies": dependencies, "action": action}
        written.append(one | ({"nonce": nonce[0].hex()} if nonce else {}))
    diverges, state = set(), groups.Groups(True)
    expected = groups.run(state, [groups.Operation(one) for one in written], diverges)
    expected["diverges"] = sorted(map(list, diverges | set(groups.diverging(state))))
    return {"name": name, "description": description, "operations": written, "expected": expected}


def create(*members, **more):
    entry = lambda member, access: {"member": member, "access": access}
    return {"type": "create", "initial_members": [entry(*one) for one in members]} | more


def change(kind, member, access=None, **more):
    return {"type": kind, "member": member} | ({"access": access} if access else {}) | more


def hardened():
    a, b, c, d = map(individual, "ABCD")
    nested = lambda name: {"group": name}
    manage = lambda *who: [(one, "manage") for one in who]
    bound = groups.bound_id("A", NONCE)
    out = [
        scenario("bound-create", "A group whose id is bound to its creator", ("A", bound, [], create(*manage(a)), NONCE)),
        scenario("smallest-id-wins", "Two creates of one unbound id: the smaller operation id is effective",
                 ("A", "1", [], create(*manage(a), id=5)), ("B", "1", [], create(*manage(b), id=3)),
                 ("A", "1", [5], change("add", c, "read", id=6)), ("B", "1", [3], change("add", d, "read", id=7))),
        scenario("takes-over-late", "An unbound id is taken over by a smaller id that comes late",
                 ("A", "1", [], create(*manage(a), id=5)), ("A", "1", [5], change("add", c, "read", id=6)),
                 ("B", "1", [], create(*manage(b), id=3))),
        scenario("bound-before-unbound", "A bound create is effective, whatever the ids",
                 ("B", bound, [], create(*manage(b), id=1)), ("B", bound, [1], change("add", c, "read", id=2)),
                 ("A", bound, [], create(*manage(a), id=9), NONCE), ("A", bound, [9], change("add", d, "read", id=10))),
        scenario("wrong-nonce", "With another nonce a create is unbound",
                 ("B", bound, [], create(*manage(b), id=1), NONCE), ("A", bound, [], create(*manage(a), id=9), NONCE)),
        scenario("second-create", "A create of a group that its past has is no candidate",
                 ("A", "1", [], create(*manage(a))), ("B", "1", [0], create(*manage(b))),
                 ("B", "1", [1], change("add", c, "read")), ("A", "1", [1], change("add", d, "read"))),
        scenario("bound-behind-unbound", "A bound create is a candidate though an unbound one is in its past",
                 ("B", bound, [], create(*manage(b))), ("A", bound, [0], create(*manage(a)), NONCE),
                 ("A", bound, [1], change("add", c, "read"))),
        scenario("q2-manager-group", "The entry that gives manage to a group is dropped",
                 ("A", "2", [], create(*manage(b))), ("A", "1", [0], create(*manage(a), (nested("2"), "manage")))),
        scenario("q3-itself", "A group that contains itself", ("A", "1", [], create(*manage(a), (nested("1"), "read")))),
        scenario("q3-cycle", "A group that contains one which reaches it",
                 ("A", "2", [], create(*manage(a), (nested("1"), "read"))),
                 ("A", "1", [0], create(*manage(a), (nested("2"), "read")))),
        scenario("q4-promote", "Promotes that do not raise",
                 ("A", "1", [], create(*manage(a), (c, "write"))), ("A", "1", [0], change("promote", c, "write")),
                 ("A", "1", [1], change("promote", c, "read")), ("A", "1", [2], change("promote", c, "manage"))),
        scenario("q4-demote", "Demotes that do not lower",
                 ("A", "1", [], create(*manage(a), (c, "read"))), ("A", "1", [0], change("demote", c, "write")),
                 ("A", "1", [1], change("demote", c, "read")), ("A", "1", [2], change("demote", c, "pull"))),
        scenario("q4-skipped", "Where 6.6 and 6.7 skip the checks, 6.8 is asked",
                 ("A", "1", [], create(*manage(a, b), (c, "pull"))), ("A", "1", [0], change("promote", b, "manage")),
                 ("A", "1", [1], change("demote", c, "pull"))),
        scenario("q5-stranger", "By an author who is no member",
                 ("A", "1", [], create(*manage(a, b), (c, "pull"))), ("D", "1", [0], change("promote", b, "read")),
                 ("D", "1", [1], change("demote", c, "read"))),
        scenario("q5-removed-member", "Of a member that was removed with manage",
                 ("A", "1", [], create(*manage(a, b))), ("A", "1", [0], change("remove", b)),
                 ("A", "1", [1], change("promote", b, "read"))),
        scenario("q5-does-not-count", "A stranger's demote filters nothing and is no mutual removal",
                 ("A", "1", [], create(*manage(a, b), (c, "pull"))), ("D", "1", [0], change("demote", c, "read")),
                 ("B", "1", [0], change("add", d, "read")), ("C", "1", [0], change("remove", c))),
        scenario("reason-behind-hardening", "A check that fails where a rule took something away: no rejection",
                 ("A", "1", [], create(*manage(a, b), (c, "read"))), ("D", "1", [0], change("promote", b, "read")),
                 ("C", "1", [1], change("add", d, "read")), ("C", "1", [0], change("add", d, "read"))),
        scenario("manager-group-behind-hardening", "ManagerGroup rejects all the same",
                 ("A", "1", [], create(*manage(a, b))), ("D", "1", [0], change("promote", b, "read")),
                 ("A", "1", [1], change("add", nested("2"), "manage"))),
        scenario("q4-when-applied", "What it was to raise is as high already, since the demote before it is filtered",
                 ("A", "1", [], create(*manage(a, b, d), (c, "write"))), ("B", "1", [0], change("demote", c, "read")),
                 ("A", "1", [1], change("promote", c, "write")), ("D", "1", [0], change("remove", b)),
                 ("A", "1", [2, 3], change("add", individual("E"), "read"))),
        scenario("counts-when-it-fails", "A promote to manage that fails 6.8 when it is applied still delegates",
                 ("A", "1", [], create(*manage(a, b, c), (d, "read"))), ("B", "1", [0], change("demote", c, "write")),
                 ("A", "1", [1], change("promote", c, "manage")), ("D", "1", [0], change("remove", d)),
                 ("C", "1", [0], change("remove", b)), ("A", "1", [2, 3, 4], change("add", individual("E"), "pull"))),
        scenario("concurrent-cycle", "A cycle that concurrent operations close stays",
                 ("A", "1", [], create(*manage(a))), ("A", "2", [0], create(*manage(a), (b, "write"))),
                 ("A", "1", [1], change("add", nested("2"), "write")), ("A", "2", [1], change("add", nested("1"), "read"))),
        scenario("forced-removal", "Two managers remove each other: both are out under Hardened rules as well",
                 ("A", "1", [], create(*manage(a, b, c))), ("A", "1", [0], change("remove", b)),
                 ("B", "1", [0], change("remove", a)), ("C", "1", [1, 2], change("add", d, "read"))),
        scenario("filtered", "What a removed manager does concurrently has no effect",
                 ("A", "1", [], create(*manage(a, b))), ("A", "1", [0], change("remove", b)),
                 ("B", "1", [0], change("add", c, "read")), ("A", "1", [1, 2], change("add", d, "read"))),
    ]
    return {
        "format": "p2panda-groups-vectors/1", "generator": MADE + "groups.md",
        "description": "As groups-scenarios.json, under Hardened rules (groups.md 4 and 9), handed over in the order of the list. Names of "
                       "authors and groups are filled up with zeros to 32 bytes; a group of 64 digits is a bound id, and "
                       "`nonce` the field of its create. Ids of operations are compared as numbers. `diverges`: operation and rule of "
                       "each report of 9.9, in any order, each once",
        "scenario_count": len(out), "operation_count": sum(len(one["operations"]) for one in out), "scenarios": out,
    }


FILES = {"groups-hardened.json": hardened}
