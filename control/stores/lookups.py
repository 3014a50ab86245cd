"""Looking up live records by their ids, as they are now.

>>> found(mongo, "edition", [item_id])       # doctest: +SKIP
{b'...': b'...'}
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .mongo import Mongo
from .mongo_errors import translated
from .raw import id_bytes, is_in
from .reader import RAW, SIMPLE


def found(mongo: Mongo, collection: str, ids: Iterable[bytes], only: Sequence[str] = ()) -> dict[bytes, bytes]:
    """The records that are there, by id (as `id_bytes`).

    Parameters
    ----------
    only: the fields that are wanted; none: all of each record.
    """
    wanted = dict.fromkeys(("_id", *only), 1) if only else None
    with translated(f"collection {collection}"):
        rows = mongo.database.get_collection(collection, codec_options=RAW).find(is_in(ids), wanted, collation=SIMPLE)
        raws = (bytes(row.raw) for row in rows)
        return {id_bytes(raw): raw for raw in raws}
