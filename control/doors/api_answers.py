"""The shapes of what the REST API answers, which they document.

Answers are built by the nouns (`as_dict`), so that REST and `--json` cannot differ; `tests/test_api.py` holds these
schemas against them.
"""

from __future__ import annotations

from marshmallow import Schema, fields

from .api_selection import SelectionSchema


class ProblemSchema(Schema):
    code = fields.String(metadata={"description": "stable; docs/errors.md lists all"})
    what = fields.String()
    subject = fields.String()
    hint = fields.String()


class PlanChangeSchema(Schema):
    """null: that plan does nothing with it. Both the same: by now it would be done to something else."""

    kind = fields.String()
    name = fields.String()
    title = fields.String()
    was = fields.String(allow_none=True, metadata={"enum": ["create", "replace", "delete", None]})
    is_ = fields.String(
        allow_none=True, data_key="is", attribute="is", metadata={"enum": ["create", "replace", "delete", None]}
    )


class ProblemDocument(ProblemSchema):
    """RFC 9457."""

    type = fields.String()
    title = fields.String()
    status = fields.Integer()
    detail = fields.String()
    mistakes = fields.List(fields.String(), metadata={"description": "all that is wrong with the request"})
    plan = fields.Dict(metadata={"description": "with code stale: the new plan; with refused: one that has conflicts"})
    again = fields.Dict(metadata={"description": "with code expired: what the plan was of, to preview it again"})
    changed = fields.List(
        fields.Nested(PlanChangeSchema), metadata={"description": "with code stale: the first items that became others"}
    )
    job = fields.Dict(metadata={"description": "the waited-for job that ended so"})


class ScopeSchema(Schema):
    project_id = fields.String(allow_none=True, metadata={"description": "null: the whole site"})


class ScopeViewSchema(ScopeSchema):
    title = fields.String()
    exists = fields.Boolean(metadata={"description": "false: the project was deleted, its snapshots are there"})
    acts = fields.List(fields.String(), metadata={"description": "what the caller may do"})


class ScopesSchema(Schema):
    scopes = fields.List(fields.Nested(ScopeViewSchema))


class SafetySchema(Schema):
    """The restore that an undo of this snapshot takes back; where there is none, the latest that it served."""

    job = fields.String()
    snapshot = fields.String(metadata={"description": "what was brought back"})
    at = fields.String()
    by = fields.String(allow_none=True, metadata={"description": "who restored; null: not known"})
    act = fields.String(metadata={"enum": ["restore", "undo", "redo"]})
    state = fields.String(
        metadata={
            "enum": ["begun", "done", "undone", "turned-back"],
            "description": "only what is done can be undone",
        }
    )


class VerdictSchema(Schema):
    at = fields.String()
    quick = fields.Boolean(metadata={"description": "names and sizes only; the bytes were not read"})
    status = fields.String(metadata={"enum": ["good", "warn", "bad"]})
    problems = fields.List(fields.Nested(ProblemSchema), metadata={"description": "the first of each code by name"})
    counts = fields.Dict(metadata={"description": "how many there are of each code, named or not"})
    files = fields.Integer()
    documents = fields.Integer()
    bytes = fields.Integer()


class PatternsSchema(Schema):
    site = fields.List(fields.String(), metadata={"description": "for what lies in no project's folder"})
    project = fields.List(fields.String(), metadata={"description": "for what lies in the folder of a project"})


class ExcludedSchema(Schema):
    patterns = fields.Nested(PatternsSchema)
    count = fields.Integer(metadata={"description": "a folder counts once, with all that is in it"})
    paths = fields.List(fields.String(), metadata={"description": "the first of them"})


class SnapshotSchema(Schema):
    name = fields.String()
    scope = fields.Nested(ScopeSchema)
    made_at = fields.String()
    made_by = fields.String()
    reason = fields.String()
    note = fields.String()
    status = fields.String(metadata={"enum": ["done", "partial", "damaged"]})
    files = fields.Integer()
    documents = fields.Integer()
    bytes = fields.Integer()
    instant = fields.Dict(allow_none=True)
    problems = fields.List(fields.Nested(ProblemSchema))
    warnings = fields.List(
        fields.Nested(ProblemSchema), metadata={"description": "worth a look, though this snapshot is whole"}
    )
    confirmed = fields.List(
        fields.Nested(ProblemSchema), metadata={"description": "no problems, since who made it said they are right"}
    )
    excluded = fields.Nested(ExcludedSchema, metadata={"description": "what the setting files.exclude left out"})
    safety_of = fields.Nested(SafetySchema, allow_none=True)
    deleted_at = fields.String(allow_none=True)
    deleted_by = fields.String(allow_none=True)
    format = fields.Integer()
    verified = fields.Nested(
        VerdictSchema, allow_none=True, metadata={"description": "null: never, or the database does not answer"}
    )


class UnfinishedSchema(ScopeSchema):
    job = fields.String(allow_none=True, metadata={"description": "null: the caller may not see it"})


class SnapshotsSchema(Schema):
    snapshots = fields.List(fields.Nested(SnapshotSchema))
    next = fields.String(allow_none=True)
    unfinished = fields.List(
        fields.Nested(UnfinishedSchema),
        metadata={"description": "restores that have begun to change something: nobody can write there until they end"},
    )


class ProgressSchema(Schema):
    stage = fields.String()
    step = fields.Integer()
    steps = fields.Integer()
    done = fields.Integer()
    total = fields.Integer()
    unit = fields.String()
    item = fields.String()


class OutcomeSchema(Schema):
    status = fields.String(
        metadata={"enum": ["done", "unchanged", "partial", "refused", "cancelled", "failed"]},
    )
    snapshot = fields.String(allow_none=True)
    safety = fields.String(allow_none=True, metadata={"description": "the safety snapshot, which an undo brings back"})
    safety_is_new = fields.Boolean(
        allow_none=True, metadata={"description": "false: it was there already, and everything was as in it"}
    )
    problems = fields.List(fields.Nested(ProblemSchema))
    report = fields.Dict(allow_none=True)
    warnings = fields.List(fields.Nested(ProblemSchema), metadata={"description": "worth a look, and no problem"})
    confirm = fields.String(
        metadata={"description": "of a job refused as unsafe: given back, it says that what was named does not matter"}
    )
    interrupted = fields.Boolean(
        metadata={"description": "the worker that had begun it was lost; another one brought it to this end"}
    )


class JobSchema(Schema):
    id = fields.String()
    act = fields.String()
    scope = fields.Nested(ScopeSchema)
    snapshot = fields.String(allow_none=True)
    by = fields.String()
    state = fields.String(metadata={"enum": ["queued", "running", "ended"]})
    progress = fields.Nested(ProgressSchema)
    interrupted = fields.Boolean(
        metadata={"description": "true: it runs no more, but has begun to change things; the next worker finishes it"}
    )
    turned_back = fields.Boolean(
        metadata={"description": "true: the state before was asked for, and comes back when the job ends"}
    )
    outcome = fields.Nested(OutcomeSchema, allow_none=True)
    created_at = fields.String()
    started_at = fields.String(allow_none=True)
    ended_at = fields.String(allow_none=True)


class JobAnswer(Schema):
    job = fields.Nested(JobSchema)


class MadeAnswer(JobAnswer):
    snapshot = fields.Nested(SnapshotSchema)


class CountsSchema(Schema):
    files = fields.Integer()
    records = fields.Integer()
    bytes = fields.Integer()
    other = fields.Integer(metadata={"description": "folders, collections, indexes"})
    kinds = fields.Dict(metadata={"description": "how many of each kind the others are; empty of what is unchanged"})


class PlanSchema(Schema):
    digest = fields.String()
    scope = fields.Nested(ScopeSchema)
    source = fields.Nested(ScopeSchema)
    snapshot = fields.String()
    selection = fields.Nested(SelectionSchema)
    people = fields.Boolean()
    only_intact = fields.Boolean()
    creates = fields.Nested(CountsSchema)
    replaces = fields.Nested(CountsSchema)
    deletes = fields.Nested(CountsSchema)
    unchanged = fields.Nested(CountsSchema)
    bytes_needed = fields.Integer()
    warnings = fields.List(fields.Nested(ProblemSchema))


class FieldSchema(Schema):
    """Without `old` it is not there now, without `new` the restore takes it away."""

    path = fields.String()
    old = fields.Raw(metadata={"description": "what is there now, as canonical extended JSON"})
    new = fields.Raw(metadata={"description": "what the restore brings"})
    cut = fields.Boolean(metadata={"description": "true: a long value is given by its beginning, as text"})


class ItemRecordSchema(Schema):
    """As the `records` of a selection have it."""

    collection = fields.String()
    id = fields.String(metadata={"description": "its _id in canonical extended JSON"})


class PlanItemSchema(Schema):
    change = fields.String(metadata={"enum": ["create", "replace", "delete"]})
    kind = fields.String()
    name = fields.String()
    bytes = fields.Integer()
    title = fields.String()
    record = fields.Nested(ItemRecordSchema, metadata={"description": "of a record that a selection can name"})
    fields_number = fields.Integer(metadata={"description": "with fields=true: how many differ"})
    fields_why = fields.String(metadata={"description": "why none can be named; else empty"})
    fields = fields.List(fields.Nested(FieldSchema))  # type: ignore[assignment]  # last: from here on it is this name


class PlanItemsSchema(Schema):
    items = fields.List(fields.Nested(PlanItemSchema))
    next = fields.String(allow_none=True)
