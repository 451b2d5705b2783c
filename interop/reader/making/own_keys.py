"""Own keys of spaces.md 20: which calls of a node go together in a topic."""

from reader import own_keys

from .operations import head


def file():
    cases = []

    def put(name, description, *calls):
        steps = [{"call": call, "own_key": own_key} for call, own_key in calls]
        cases.append({"name": name, "description": description, "steps": own_keys.run(steps)})

    own = lambda call: (call, True)
    plain = lambda call: (call, False)
    restart = plain("restart")
    put("create", "A space that is created with a key of its own; later calls use it", own("create"), plain("publish"), restart,
        plain("follow"), plain("publish"))
    put("follow", "A topic that is followed with a key of its own", own("follow"), own("follow"), plain("follow"), restart, own("follow"))
    put("join", "An invite that is followed with a key of its own", own("join"), plain("join"), restart, own("join"))
    put("follow_then_join", "The key stays when the node joins", own("follow"), plain("join"))
    put("followed_before", "Not where the node follows with its node id", plain("follow"), own("follow"), own("join"), restart,
        own("follow"), plain("follow"))
    put("created_before", "Nor where it has created the space with it", plain("create"), own("follow"), plain("publish"))
    put("joined_before", "Nor where it has joined with it", plain("join"), own("join"), restart, own("follow"))
    put("published_before", "Nor where it has published with it, in clear", plain("publish"), own("create"), own("follow"), own("join"),
        restart, own("create"), plain("follow"))
    put("others_published", "What others have published there does not count", plain("others_publish"), own("follow"))
    put("published_elsewhere", "Nor does another topic", plain("publish_elsewhere"), own("create"))
    return head("spaces.md 20.5. A node with nothing makes calls in one topic, in order. `own_key`: it is asked for. `outcome`: `own` or "
                "`node`, the key with which the node signs there from then on; `NodeKey`, the call fails and changes nothing; null, "
                "the call is of no concern. `publish_elsewhere` is in another topic, `others_publish` is by another node",
                "spaces.md", cases)


FILES = {"spaces-own-keys.json": file}
