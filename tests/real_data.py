"""Where the tests find real editions: the folder that KEYFRAME_REAL_DATA names, else one beside the checkout.

Run as a program it says whether there are any; `make test` ends with that line.
"""

from __future__ import annotations

import os
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data" / "pure3d-exampledata"


def real_data() -> Path | None:
    """The folder, as an absolute path; None when there is none."""
    named = os.environ.get("KEYFRAME_REAL_DATA")
    folder = Path(named).resolve() if named else BESIDE
    return folder if (folder / "project").is_dir() else None


if __name__ == "__main__":
    found = real_data()
    print("Real data: its tests ran." if found else "Real data: none found, its tests were SKIPPED.")
