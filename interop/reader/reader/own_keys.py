"""Own keys (spaces.md 20): with which key a node signs in a topic."""


class Topic:
    """20.5: a node has one author in a topic."""

    def __init__(self):
        self.has_own_key = self.uses_node_key = False

    def call(self, step):
        """With which key the node signs from then on, that the call fails, or nothing."""
        if step["call"] in ("restart", "others_publish", "publish_elsewhere"):
            return None
        if step["call"] == "publish":
            self.uses_node_key |= not self.has_own_key
        elif step["own_key"] and self.uses_node_key:
            return "NodeKey"
        elif step["own_key"]:
            self.has_own_key = True
        else:
            self.uses_node_key |= not self.has_own_key
        return "own" if self.has_own_key else "node"


def run(steps):
    topic = Topic()
    return [step | {"outcome": topic.call(step)} for step in steps]


def read(check):
    for v in check.file("spaces-own-keys.json")["vectors"]:
        bare = [{name: one for name, one in step.items() if name != "outcome"} for step in v["steps"]]
        check.equal(run(bare), v["steps"], "spaces-own-keys", v["name"])
