"""Names of the files of a collection.

>>> stem_of("plain.name/with slash")
'plain.name%2Fwith%20slash'
"""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import quote

# mongorestore takes the full name from the metadata where a stem has exactly 238 bytes: 208 of the name, `%24`, 27 of
# the checksum.
LONGEST_STEM = 238
_CUT_STEM = 208


def stem_of(collection: str) -> str:
    """The name of a collection's files: escaped, and shortened where it is long, as mongodump does.

    Source: mongo-tools, common/util, EscapeCollectionName: percent-escapes; longer names are cut and end in `%24` and
    the SHA-1 of the whole name in URL-safe base64.
    """
    stem = quote(collection, safe="$&+=:@")
    if len(stem) <= LONGEST_STEM:
        return stem
    checksum = hashlib.sha1(collection.encode(), usedforsecurity=False).digest()
    return f"{stem[:_CUT_STEM]}%24{base64.urlsafe_b64encode(checksum).decode('ascii').rstrip('=')}"
