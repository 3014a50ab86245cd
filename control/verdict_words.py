"""Words for verifications: how a snapshot was found, when, and what is wrong with it.

Rules:

- A quick look is never said to have read anything.
- Damage is counted in full, whatever number of it is named.

>>> words.verified(verdict, now).title          # doctest: +SKIP
'Verified today 14:02: every byte is as it was written.'
"""

from __future__ import annotations

from datetime import datetime

from .errors import Problem
from .model import Verdict, Weight
from .phrases import Phrases, Words


class VerdictWords(Phrases):
    """Sentences about verdicts."""

    def verified(self, verdict: Verdict, now: datetime) -> Words:
        """What is known of a snapshot from its last verification."""
        when = self.when(verdict.at, now)
        if verdict.is_bad:
            title = f"Verified {when}: {self._damage(verdict)}."
        elif verdict.quick:
            title = f"Looked at {when}: names and sizes are right; the bytes were not read."
        else:
            title = f"Verified {when}: every byte is as it was written."
        return Words(title, self._more(verdict), verdict.status.value, verdict.problems, verdict.at)

    def verdict_badge(self, verdict: Verdict) -> tuple[str, str] | None:
        """Word and tone of the mark that a verdict gives a snapshot in a list; None: a quick look proves little."""
        if verdict.is_bad:
            return "damaged", "bad"
        return None if verdict.quick else ("verified", "good")

    def coded(self, problem: Problem) -> str:
        """A finding with its code, as the command line tells it."""
        return f"  {problem.code}: {self.problem(problem)}"

    def checked(self, verdict: Verdict, called: str, moment: datetime | None = None) -> Words:
        """How a verification ended; `called` names the snapshot, by a moment that is `moment` in words, or a folder."""
        if verdict.is_bad:
            text = f"{self._damage(verdict)}. Nothing was changed, and other snapshots were not looked at."
            title = f"Damaged: {called} is not as it was written"
            return Words(title, f"{text} {self._more(verdict)}".strip(), "bad", verdict.problems, moment)
        what = (
            f"{self.count(verdict.files, 'file')} and {self.count(verdict.documents, 'record')}, "
            f"{self.size(verdict.bytes)}"
        )
        if verdict.quick:
            title, text = f"Done: names and sizes of {called} are right", f"{what}; the bytes were not read."
        else:
            title, text = f"Done: {called} is as it was written", f"{what}, were read and compared."
        if verdict.status is Weight.WARN:
            text += " To know of:"
        return Words(title, text, verdict.status.value, verdict.problems, moment)

    def _damage(self, verdict: Verdict) -> str:
        number = sum(n for code, n in verdict.counts.items() if Weight.of_code(code) is Weight.BAD)
        return f"{self.count(number, 'thing')} {'is' if number == 1 else 'are'} not as written"

    def _more(self, verdict: Verdict) -> str:
        """How many findings there are beside those that are named."""
        return f"{self.number(verdict.unnamed)} more are not named." if verdict.unnamed else ""
