"""A person's own page: the tokens with which scripts act as this person."""

from __future__ import annotations

from flask import request, url_for
from werkzeug.wrappers import Response as AnyResponse

from .pages_frame import NAME, Frame

LONGEST_LABEL = 100


class TokenPages:
    """Tokens of the person who asks; a token's secret is shown once, in the answer that makes it."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.desk = frame.office.desk

    def me(self) -> str:
        return self._page("")

    def create(self) -> str:
        """A new token; answered with the page itself, since the secret must not lie in an address."""
        actor = self.frame.actor()
        label = request.form.get("label", "").strip()[:LONGEST_LABEL]
        return self._page(self.desk.create_token(actor, actor.user, label))

    def revoke(self, token_id: str) -> AnyResponse:
        actor = self.frame.actor()
        self.desk.revoke_token(actor, actor.user, self.frame.identifier(token_id))
        return self.frame.go(url_for(f"{NAME}.me"))

    def _page(self, secret: str) -> str:
        actor = self.frame.actor()
        tokens = self.desk.tokens(actor, actor.user)
        return self.frame.page("keyframe/tokens.html", tokens=tokens, secret=secret, longest_label=LONGEST_LABEL)
