"""The errors of Keyframe: one hierarchy, each class with a stable code.

Rules:

- An error says what happened (`what`), to what (`subject`) and what to do (`hint`), with numbers where there are any,
  and in what state the data is now.
- `code` is stable and listed in `docs/errors.md`; doors translate it into HTTP status and exit code, one table each.
- Foreign errors are translated where they enter (the stores); errors of the programmer stay plain `RuntimeError`.

>>> NotFoundError("There is no such snapshot.", subject="2026-11-21T10-53-15Z").problem().code
'not-found'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


def shown(text: str) -> str:
    """A text as it can be printed: undecodable bytes of a name become the replacement character."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON can name one
        return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, as it is kept in outcomes, snapshots and answers: code, what, subject, hint."""

    code: str
    what: str
    subject: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        # Names of files need not be UTF-8; a problem is shown and stored as text everywhere.
        for key in ("what", "subject", "hint"):
            object.__setattr__(self, key, shown(getattr(self, key)))

    def as_dict(self) -> dict[str, str]:
        """The shape used in `snapshot.json`, in REST answers and in the control database."""
        return {"code": self.code, "what": self.what, "subject": self.subject, "hint": self.hint}

    @classmethod
    def from_dict(cls, doc: dict[str, str]) -> Problem:
        return cls(doc["code"], doc["what"], doc.get("subject", ""), doc.get("hint", ""))


class KeyframeError(Exception):
    """Something unforeseen; the full text goes to the log only."""

    kind: ClassVar[str] = "internal"

    def __init__(self, what: str, *, subject: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.subject = subject
        self.hint = hint

    @property
    def code(self) -> str:
        """The stable code of docs/errors.md."""
        return self.kind

    def problem(self) -> Problem:
        """The same as a value, to be kept in an outcome."""
        return Problem(self.code, self.what, self.subject, self.hint)

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.subject}:" if self.subject else "", self.what, self.hint) if part)


class InvalidError(KeyframeError):
    """The request is wrong; `mistakes` lists all that is wrong with it, a sentence each."""

    kind = "invalid"

    def __init__(self, what: str, *, subject: str = "", hint: str = "", mistakes: tuple[str, ...] = ()) -> None:
        super().__init__(what, subject=subject, hint=hint)
        self.mistakes = mistakes


class SettingsError(InvalidError):
    """`config.yaml` or the environment is wrong; `mistakes` has key, value found and value expected of each."""

    kind = "settings"


class SignInError(KeyframeError):
    """No session, no token, or one that no longer counts."""

    kind = "sign-in"


class RefusedError(KeyframeError):
    """Auth says no to somebody who may see the scope."""

    kind = "refused"


class NotFoundError(KeyframeError):
    """No such snapshot, project, plan or job for this actor; says the same whether it is absent or hidden."""

    kind = "not-found"


class ExpiredError(NotFoundError):
    """A plan that is no longer kept; `again` says what it was of, as REST shows it, for whoever may preview that."""

    kind = "expired"

    def __init__(self, what: str, *, subject: str = "", hint: str = "", again: dict[str, object]) -> None:
        super().__init__(what, subject=subject, hint=hint)
        self.again = again


def no_such_project() -> NotFoundError:
    """The answer about a project that is not there: the same where somebody may not see it, or no id is like that."""
    return NotFoundError(
        "There is no such project.",
        subject="project",
        hint="Its id is the name of its folder, and stands in the address of its page.",
    )


def no_such_collection(name: str) -> NotFoundError:
    """The same about a collection: whether it is not there, or none of the scope's."""
    return NotFoundError(
        "There is no such collection here.",
        subject=name[:255],
        hint="A snapshot's folder db/json has one file of each.",
    )


def no_such_job() -> NotFoundError:
    """The same about a job."""
    return NotFoundError("There is no such job.", subject="job", hint="The answer that accepted a job names it.")


class BusyError(KeyframeError):
    """Another job holds the scope; `subject` says which."""

    kind = "busy"


class StaleError(KeyframeError):
    """The plan that was agreed to was overtaken; `report` holds the new one, as REST shows plans."""

    kind = "stale"

    def __init__(
        self, what: str, *, subject: str = "", hint: str = "", report: dict[str, object] | None = None
    ) -> None:
        super().__init__(what, subject=subject, hint=hint)
        self.report = report or {}


class UnsafeError(KeyframeError):
    """The state before a restore could not be kept as a whole; `problems` name the gaps, `digest` is of them.

    Whoever gives the digest back (`confirm`) says that they do not matter; `report` is the plan. `why` and `hint` say
    more where it is for lack of room.
    """

    kind = "unsafe"

    def __init__(
        self,
        problems: tuple[Problem, ...],
        digest: str,
        report: dict[str, object],
        *,
        why: str = "",
        hint: str = "Mend what is named, or confirm that it does not matter; nothing was changed.",
    ) -> None:
        left_out = "1 thing is left out" if len(problems) == 1 else f"{len(problems)} things are left out"
        what = f"The state of now cannot be kept as a whole: {why or left_out}."
        super().__init__(what, subject="safety snapshot", hint=hint)
        self.problems = problems
        self.digest = digest
        self.report = report


class DamagedError(KeyframeError):
    """Bytes and manifest of a snapshot disagree; `damage` names the kind, it is the second half of the code.

    `all` names everything that is damaged, where that is known: this one among it.
    """

    kind = "damaged"

    def __init__(
        self, damage: str, what: str, *, subject: str = "", hint: str = "", all_of_it: tuple[Problem, ...] = ()
    ) -> None:
        super().__init__(what, subject=subject, hint=hint)
        self.damage = damage
        self.all = all_of_it

    @property
    def code(self) -> str:
        return f"damaged.{self.damage}"


class NoRoomError(KeyframeError):
    """Disk or quota is full; `what` has both numbers. `is_refusal`: a restore has no room for its safety snapshot."""

    kind = "no-room"

    def __init__(self, what: str, *, subject: str = "", hint: str = "", is_refusal: bool = False) -> None:
        super().__init__(what, subject=subject, hint=hint)
        self.is_refusal = is_refusal


class UnavailableError(KeyframeError):
    """The server or the disk does not answer; to try again makes sense."""

    kind = "unavailable"


class ChangedError(KeyframeError):
    """A source file would not hold still while it was read; it is named."""

    kind = "changed"


class CancelledError(KeyframeError):
    """A person, or the end of the process, stopped it; the state is clean."""

    kind = "cancelled"
