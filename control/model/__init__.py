"""The nouns of Keyframe: frozen values, checked when they are made.

Rules:

- The constructor refuses what must not exist (`ValueError`); text from outside becomes a checked type at the door.
- Times are aware and UTC, sizes are bytes, ids are text.
"""

from .excluded import Excluded, Patterns
from .jobs import (
    CONFIRMABLE,
    Fence,
    Health,
    Job,
    JobState,
    Order,
    Outcome,
    OutcomeStatus,
    Page,
    Progress,
    Unfinished,
    found_unchanged,
)
from .marks import RestoreMark
from .plans import ABSENT, Change, Counts, Field, Fields, Plan, PlanChange, PlanChanges, PlanItem
from .scopes import Action, Actor, Permit, Person, Scope, ScopeView, is_id
from .selections import (
    EVERYTHING,
    Selection,
    canonical_json,
    path_of_base64,
    record_name,
    record_of_name,
    require_collection,
    require_path,
    tidy_path,
)
from .snapshots import (
    BUCKETS,
    FORMAT,
    NO_ROOM,
    SHRUNK,
    SYSTEM_JS,
    Attributes,
    CollectionEntry,
    FileEntry,
    Inexact,
    Instant,
    Part,
    Reason,
    Snapshot,
    Status,
    is_capped,
    is_snapshot_name,
)
from .spelling import is_seen, name_of, spelled
from .stems import stem_of
from .times import utc_moment, utc_text
from .undoing import Undoing, taken_back
from .undos import NO_UNDOS, Undos
from .verdicts import Verdict, Weight, decisive

__all__ = [
    "ABSENT",
    "BUCKETS",
    "CONFIRMABLE",
    "EVERYTHING",
    "FORMAT",
    "NO_ROOM",
    "NO_UNDOS",
    "SHRUNK",
    "SYSTEM_JS",
    "Action",
    "Actor",
    "Attributes",
    "Change",
    "CollectionEntry",
    "Counts",
    "Excluded",
    "Fence",
    "Field",
    "Fields",
    "FileEntry",
    "Health",
    "Inexact",
    "Instant",
    "Job",
    "JobState",
    "Order",
    "Outcome",
    "OutcomeStatus",
    "Page",
    "Part",
    "Patterns",
    "Permit",
    "Person",
    "Plan",
    "PlanChange",
    "PlanChanges",
    "PlanItem",
    "Progress",
    "Reason",
    "RestoreMark",
    "Scope",
    "ScopeView",
    "Selection",
    "Snapshot",
    "Status",
    "Undoing",
    "Undos",
    "Unfinished",
    "Verdict",
    "Weight",
    "canonical_json",
    "decisive",
    "found_unchanged",
    "is_capped",
    "is_id",
    "is_seen",
    "is_snapshot_name",
    "name_of",
    "path_of_base64",
    "record_name",
    "record_of_name",
    "require_collection",
    "require_path",
    "spelled",
    "stem_of",
    "taken_back",
    "tidy_path",
    "utc_moment",
    "utc_text",
]
