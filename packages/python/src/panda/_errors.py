"""Errors of the node and of the connection."""

from __future__ import annotations

from typing import Any


class PandaError(Exception):
    """A failed call. `code` is stable, such as `unknown-topic`.

    It is `closed` without a connection, and `unanswered` if it is unknown whether the node carried the call out.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str | None = None,
        expected: dict[str, Any] | None = None,
        reason: str | None = None,
        after: int | None = None,
    ) -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.code = code
        self.message = message
        self.hint = hint
        #: With `log-moved`: `seq` and `backlink`.
        self.expected = expected
        #: With `refused-operation`: the rule that was broken.
        self.reason = reason
        #: With `expired`: the highest offset that was deleted; reading continues after it.
        self.after = after

    @classmethod
    def of(cls, message: str, data: dict[str, Any]) -> PandaError:
        """Reads an error of the RPC."""
        return cls(
            str(data.get("code", "other")),
            message,
            data.get("hint"),
            data.get("expected"),
            data.get("reason"),
            data.get("after"),
        )


def closed(why: str = "the connection to the node is over") -> PandaError:
    return PandaError("closed", why, "connect again; is the node running?")


def unanswered(why: PandaError) -> PandaError:
    """The error of calls to which no answer comes, because the node refused a frame."""
    what = f"it is unknown whether the node carried this out, because it refused a frame: {why}"
    return PandaError("unanswered", what, "publish again with the same `request`")
