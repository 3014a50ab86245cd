"""Passwords: kept as argon2 hashes, compared without telling whether the person exists."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 8
LONGEST = 1000

# Compared with where there is no password, so that the answer takes as long. It is the hash of a forgotten random text.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$f3GqidbSmlmLynYtxhToCw$UVfBXZB3T08eR4nR7CQjISxwdnVgezNiOKDeNg1mN0M"


def password_hash(password: str) -> str:
    """The hash to keep.

    Raises
    ------
    ValueError: too short or too long; the message is for people.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ValueError(f"A password has {SHORTEST} to {LONGEST} characters, this one has {len(password)}.")
    return PasswordHasher().hash(password)


def password_fits(kept: str, password: str) -> bool:
    """Whether `password` is the one of the hash `kept`; an empty hash fits none."""
    try:
        fits = PasswordHasher().verify(kept or _NOBODY, password[:LONGEST])
    except (VerificationError, InvalidHashError):
        return False
    return fits and bool(kept)
