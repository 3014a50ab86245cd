"""Real disks that are small, or full.

>>> mounted("tmpfs", tmp_path / "data", 8)      # doctest: +SKIP
True
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path


def mounted(kind: str, folder: Path, megabytes: int) -> bool:
    """Mount a small real file system of that kind."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return False
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    else:
        image = folder.with_name(f"{folder.name}.img")
        with image.open("wb") as file:
            file.truncate(megabytes * 1_000_000)
        made = shutil.which("mkfs.ext4") and subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)]).returncode == 0
        if not made:
            return False
        command = ["mount", "-o", "loop", str(image), str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def fill_up(folder: Path) -> Path:
    """A file that takes the disk to its last byte."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 512, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return filler
