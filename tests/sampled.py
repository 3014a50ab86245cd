"""The sample, made once for all tests of a process: its pictures take a second."""

from __future__ import annotations

from typing import Any

from keyframe.sample import fill_with, made_content
from keyframe.settings import Settings
from pymongo.database import Database

CONTENT = made_content()


def fill_sample(settings: Settings, database: Database[dict[str, Any]]) -> None:
    """Fill a site with it."""
    fill_with(settings, database, CONTENT)
