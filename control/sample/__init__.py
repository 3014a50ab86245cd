"""Fills a site: with a sample that is made by code, or with a folder of real editions.

>>> make_sample(settings, client[settings.mongo.database])
"""

from .commands import sample_command
from .content import Content, stable_id
from .filling import fill_empty, fill_with, holds_only_sample, is_empty, load_real, make_sample
from .made import made_content
from .real import real_content

__all__ = [
    "Content",
    "fill_empty",
    "fill_with",
    "holds_only_sample",
    "is_empty",
    "load_real",
    "made_content",
    "make_sample",
    "real_content",
    "sample_command",
    "stable_id",
]
