"""The tables. All state of the service lives in them; every query on them is in a module of this package.

Times are seconds since 1970 (UTC), ids of the labeling tool are text, unique per project. What is counted is counted in `counter`,
in the transaction that changes it, so that no page ever counts rows.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Id = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER counts up by itself on SQLite


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _of(table: str, *, name: str | None = None, null: bool = False, primary: bool = False, on_delete: str = "CASCADE") -> Column[int]:
    key = ForeignKey(f"{table}.id", ondelete=on_delete)
    return Column(name or f"{table}_id", Id, key, nullable=null, primary_key=primary, autoincrement=False)


# -- what is fitted

# Content-addressed files, in pieces: references and models travel with the database, replicas need no shared disk.
stored_file = Table(
    "stored_file",
    metadata,
    _id(),
    Column("hash", Text, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
)

file_piece = Table(
    "file_piece",
    metadata,
    _of("stored_file", primary=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)

reference = Table(
    "reference",
    metadata,
    _id(),
    Column("version", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("prediction_version", Text, nullable=False, unique=True),  # so that a delivery is the only one of its task and version
    Column("facts", JSON, nullable=False),  # Reference.facts(): guarantee, counts, classes
    Column("curve", JSON),  # of the guarantee: coverage, risk and bound, a list each
    Column("at", Float, nullable=False),
)

# What other thresholds would do, on the held-out items of a reference: a row per alpha.
reference_grid = Table(
    "reference_grid",
    metadata,
    _of("reference", primary=True),
    Column("alpha", Float, primary_key=True),
    Column("threshold", Float),  # on the score; null where alpha decides nothing
    Column("taus", JSON, nullable=False),  # see store.previews
)

# Where the normal range of each member of the score lies, in each cluster.
reference_edge = Table(
    "reference_edge",
    metadata,
    _of("reference", primary=True),
    Column("cluster", Text, primary_key=True),
    Column("members", JSON, nullable=False),  # by name: the median of training items, and the 95% edge
)

reference_file = Table(
    "reference_file",
    metadata,
    _of("reference", primary=True),
    Column("path", Text, primary_key=True),
    _of("stored_file"),
)

# -- what is triaged

project = Table(
    "project",
    metadata,
    _id(),
    Column("external_id", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    _of("reference"),
    _of("reference", name="next_reference_id", null=True),  # every item gets its verdicts too, before it takes over
    _of("reference", name="old_reference_id", null=True),  # was taken over from: its predictions are still to be deleted
    Column("watch", Boolean, nullable=False, server_default=false()),  # triage, but write nothing into the tool
    Column("paused_at", Float),  # since when a person has stopped automatic labels; null: nobody has
    Column("pause_reason", Text, nullable=False, server_default=""),
    Column("alarm", JSON(none_as_null=True)),  # states.Alarm, as long as it stops automatic labels
    Column("trouble", Text),  # why nothing is judged at the moment, with the fix
    Column("problem", Text),  # why nothing is delivered at the moment, with the fix
    Column("gone", Boolean, nullable=False, server_default=false()),
    Column("config", Text, nullable=False, server_default=""),
    Column("wanted", Integer, nullable=False, server_default=text("1")),
    Column("shown_version", Text, nullable=False, server_default=""),
    Column("last_task", Text, nullable=False, server_default=""),  # watermark of the poll for new tasks
    Column("changes_until", Float, nullable=False, server_default=text("0")),  # watermark of the poll for changed ones, in the tool's time
    Column("read_until", Float, nullable=False, server_default=text("0")),  # when the tool was last read, in ours
    Column("swept_at", Float, nullable=False, server_default=text("0")),
    Column("told_at", Float, nullable=False, server_default=text("0")),  # when a webhook last told of the project
    Column("options", JSON, nullable=False),  # ProjectOptions
    Column("standing", JSON),  # of the guarantee, as the jobs process last found it (service.guarantee.standings)
    Column("restored_at", Float, nullable=False, server_default=text("0")),  # tasks from before may have predictions that nobody knows of
    Column("at", Float, nullable=False),
)

dataset = Table(
    "dataset",
    metadata,
    _id(),
    _of("project"),
    Column("kind", Text, nullable=False),  # all | batch | field | pushed
    Column("name", Text, nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("augmented", Boolean, nullable=False, server_default=false()),  # made of training items: advice on that
    UniqueConstraint("project_id", "kind", "name"),
)

saved_view = Table(
    "saved_view",
    metadata,
    _id(),
    _of("project"),
    Column("page", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("query", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    UniqueConstraint("project_id", "page", "name"),
)

# A person's word on many items at once: a person shall look (review), or need not any more (back).
rerouting = Table(
    "rerouting",
    metadata,
    _id(),
    _of("project"),
    Column("to", Text, nullable=False),  # review | back
    Column("by", Text, nullable=False),
    Column("reason", Text),  # why items were set aside; null where none was asked for
    Column("n", Integer, nullable=False, server_default=text("0")),
    Column("at", Float, nullable=False),
    Column("undone_at", Float),
)

item = Table(
    "item",
    metadata,
    _id(),
    _of("project"),
    Column("external_id", Text),  # the task; none yet of a pushed item
    Column("marker", Text),  # of a pushed item: what its task will carry
    Column("media", Text, nullable=False),  # as the task holds it
    Column("media_hash", Text, nullable=False),
    Column("group", Text),
    Column("data", JSON),  # of a pushed item: the other fields of its task
    Column("wanted", Integer, nullable=False, server_default=text("1")),
    Column("labelled", Boolean, nullable=False, server_default=false()),  # at first sight: no prediction, no part in any score
    Column("gone", Boolean, nullable=False, server_default=false()),
    _of("dataset", name="shown_dataset_id", null=True),  # whose diversity the task shows
    # the verdict under the project's reference, for the queue
    Column("route", Text),
    Column("trust", Float),  # its place (store.places)
    Column("dismissed", Boolean, nullable=False, server_default=false()),  # out of the queue by a person: it is not strange
    Column("answer", Text, nullable=False, server_default="open"),  # open | resolved | disputed
    Column("labels", JSON),  # the answer, once resolved
    Column("machine", Boolean, nullable=False, server_default=false()),  # resolved by an accepted machine label
    Column("answered_at", Float),
    Column("sent_by", Text),  # the person who wants people to look at it, whatever the model says
    _of("rerouting", null=True, on_delete="SET NULL"),  # the last one that changed it
    Column("changed_at", Float, nullable=False, server_default=text("0")),  # by the tool's clock, of the reading that this is from
    Column("at", Float, nullable=False),
    UniqueConstraint("project_id", "external_id"),
    Index(None, "rerouting_id"),
    Index(None, "project_id", "id"),
)
# Of those that have one alone: where nobody pushes, an index of nothing but nulls would be written with each item, and SQLite, which counts
# nulls as equal, would rather read all items than look into it.
MARKED = text("marker IS NOT NULL")
Index("uq_item_marker", item.c.marker, unique=True, sqlite_where=MARKED, postgresql_where=MARKED)
# No marker is there twice. Many of them with their project would be looked for along all of its items: this is it, but for indexes.
project_of_marked = item.c.project_id + 0
Index("ix_item_gone", item.c.project_id, sqlite_where=text("gone = 1"), postgresql_where=text("gone"))  # few, left out of counts
# The queue, strangest first and newest first; and what of it is `auto`, for acceptance. Of judged items: what waits for the model is
# written into neither, and not taken out of them again with its verdict.
_listed = (item.c.project_id, item.c.answer, item.c.dismissed, item.c.labelled, item.c.gone, item.c.route)
_judged = text("route IS NOT NULL")
Index("ix_item_answered", item.c.project_id, item.c.machine, item.c.answered_at)  # how fast people are
Index("ix_item_sent", item.c.project_id, sqlite_where=text("sent_by IS NOT NULL"), postgresql_where=text("sent_by IS NOT NULL"))  # few
# Labelled at first sight; answered since; and of that what is strange. No other item is written into these, and queries say it as they do.
IS_LABELLED, IS_ANSWERED, IS_STRANGE = (
    text("item.labelled"),
    text("item.answer <> 'open'"),
    text("item.route = 'outlier' AND item.answer = 'resolved' AND NOT item.machine"),
)
_labelled, _answered, _strange = (
    text("labelled"),
    text("answer <> 'open'"),
    text("route = 'outlier' AND answer = 'resolved' AND NOT machine"),
)
Index("ix_item_labelled", item.c.project_id, item.c.id, sqlite_where=_labelled, postgresql_where=_labelled)
Index("ix_item_resolved", item.c.project_id, item.c.answer, item.c.id, sqlite_where=_answered, postgresql_where=_answered)
Index("ix_item_strange", item.c.project_id, item.c.answered_at, sqlite_where=_strange, postgresql_where=_strange)
Index("ix_item_queue", *_listed, item.c.trust, item.c.id, sqlite_where=_judged, postgresql_where=_judged)
Index("ix_item_newest", *_listed, item.c.id, sqlite_where=_judged, postgresql_where=_judged)

item_dataset = Table(
    "item_dataset",
    metadata,
    _of("dataset", primary=True),
    _of("item", primary=True),
    Index(None, "item_id"),
    sqlite_with_rowid=False,  # its key is all that a row holds: kept once, not twice
)

verdict = Table(
    "verdict",
    metadata,
    _of("item", primary=True),
    _of("reference", primary=True),
    _of("project"),
    Column("route", Text, nullable=False),
    Column("judged", Text, nullable=False),  # the model's own route
    Column("held_back", Text),  # states.HeldBack: why it is `uncertain` though judged `auto`
    Column("labels", JSON, nullable=False),
    Column("label", Text, nullable=False, server_default=""),  # the same in one text, as classes are called in a guarantee
    Column("cluster", Text),
    Column("confidence", Float),
    Column("sureness", Float),
    Column("score", Float),
    Column("class_score", Float),
    Column("source_score", Float),
    Column("members", JSON, nullable=False),
    Column("p_value", Float),
    Column("outlier_score", Float),
    Column("trust", Float, nullable=False),
    Column("shown_trust", Float, nullable=False),  # by which annotators' tasks are sorted: another one for spot checks
    Column("reason", Text, nullable=False),  # of the route that the model judged
    Column("failure", Text),  # states.Failure: what kept it from being judged
    Column("seconds", Float, nullable=False),
    Column("at", Float, nullable=False),
    Index(None, "project_id", "reference_id", "at"),
    # All that a preview counts by, in the order in which items come: an index in any other order is written all over the place.
    Index("ix_verdict_preview", "project_id", "reference_id", "label", "item_id", "score", "sureness"),
)

# What could not be judged: few. The pages list it by kind.
_failed = text("failure IS NOT NULL")
Index(
    "ix_verdict_failure",
    verdict.c.project_id,
    verdict.c.reference_id,
    verdict.c.item_id,
    verdict.c.failure,
    sqlite_where=_failed,
    postgresql_where=_failed,
)

point = Table(
    "point",
    metadata,
    _of("item", primary=True),
    _of("reference", primary=True),
    Column("compressed", LargeBinary, nullable=False),  # (n,) float16
    Column("nearest", LargeBinary),  # (5,) uint16: places in the reference's sample, once it is on a map
    Column("fingerprint", LargeBinary),  # 64 bits of its picture, b"" without one; null: not compared with other items yet
)
_uncompared = text("fingerprint IS NULL")
Index("ix_point_uncompared", point.c.reference_id, point.c.item_id, sqlite_where=_uncompared, postgresql_where=_uncompared)

# Items that repeat an earlier one, exactly or nearly; twin_id: the first of those that are alike.
twin = Table(
    "twin",
    metadata,
    _of("item", primary=True),
    _of("item", name="twin_id"),
    _of("project"),
    Column("kind", Text, nullable=False),  # states.TwinKind
    Column("distance", Float, nullable=False),
    Column("state", Text, nullable=False),  # states.TwinState
    Column("labels", JSON(none_as_null=True)),  # the answer that it inherited
    Column("at", Float, nullable=False),
    Index(None, "twin_id"),
    Index(None, "project_id", "state"),
)

# The reference's sample of training items, for people: in its order.
training_item = Table(
    "training_item",
    metadata,
    _of("reference", primary=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("thumbnail", LargeBinary),
)

thumbnail = Table("thumbnail", metadata, _of("item", primary=True), Column("content", LargeBinary, nullable=False))

counter = Table(
    "counter",
    metadata,
    _of("dataset", primary=True),
    _of("reference", primary=True),
    Column("route", Text, primary_key=True),
    Column("cluster", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("open", Integer, nullable=False),  # of them not answered yet
    Column("checks", Integer, nullable=False),  # of n: spot checks that are not settled,
    Column("open_checks", Integer, nullable=False),  # and not answered yet
)

snapshot = Table(
    "snapshot",
    metadata,
    _id(),
    _of("dataset"),
    _of("reference"),
    Column("n", Integer, nullable=False),  # scored items
    Column("outliers", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("low", Float),  # limits of the share of outliers
    Column("high", Float),
    Column("facts", JSON, nullable=False),  # diversity, advice, groups
    Column("at", Float, nullable=False),
    Index(None, "dataset_id", "at"),
)

# Which outliers of a dataset belong together, by its latest snapshot.
group_member = Table(
    "group_member",
    metadata,
    _of("dataset", primary=True),
    _of("item", primary=True),
    Column("number", Integer, nullable=False),
    Index(None, "item_id"),
    Index(None, "dataset_id", "number", "item_id"),
)

map_ = Table(
    "map",
    metadata,
    _id(),
    _of("project"),
    _of("reference"),
    Column("method", Text, nullable=False),  # umap | tsne | umap-3d
    Column("seed", Integer, nullable=False),
    Column("state", Text, nullable=False),  # asked | making | ready | failed
    Column("progress", Float, nullable=False, server_default=text("0")),  # share of the making that is done
    Column("text", Text, nullable=False, server_default=""),  # what it is at, or why it failed
    Column("training", Integer, nullable=False, server_default=text("0")),  # training items that it was fitted on,
    Column("fitted", Integer, nullable=False, server_default=text("0")),  # incoming ones,
    Column("total", Integer, nullable=False, server_default=text("0")),  # and the incoming ones that there were
    Column("frame", JSON),  # the lowest corner and the side of the square, or cube, that the places fill
    Column("names", JSON),  # what the codes stand for: {"class": [...], "dataset": [ids]}
    Column("read_until", Float, nullable=False, server_default=text("0")),  # verdicts from before that are on it
    Column("at", Float, nullable=False),
    Column("finished_at", Float),
    Index(None, "project_id", "method", "id"),
)

# The points of a map, packed (store.map_points): pieces of it, the first one of training items.
map_piece = Table(
    "map_piece",
    metadata,
    _of("map", primary=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, nullable=False),
    Column("first", BigInteger, nullable=False),  # the smallest id in it
    Column("last", BigInteger, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("content", LargeBinary, nullable=False),  # gzip
)

# The latest page about a dataset that opens from a file, of each kind.
report = Table(
    "report",
    metadata,
    _of("dataset", primary=True),
    Column("kind", Text, primary_key=True),  # report | atlas
    _of("stored_file"),
    Column("at", Float, nullable=False),
)

# -- what is to be done

# One row per item and reference that is still to be judged; a lease holds it for one worker.
work = Table(
    "work",
    metadata,
    _id(),
    _of("item"),
    _of("reference"),
    _of("project"),
    Column("attempts", Integer, nullable=False, server_default=text("0")),  # without an end: a worker died on it
    Column("tries", Integer, nullable=False, server_default=text("0")),  # at media that may come back
    Column("not_before", Float, nullable=False, server_default=text("0")),
    Column("owner", Text),
    Column("lease_until", Float),
    Column("urgent", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("item_id", "reference_id"),
    Index(None, "project_id", "reference_id"),  # how many wait
)
Index("ix_work_order", work.c.urgent.desc(), work.c.id)

delivery = Table(
    "delivery",
    metadata,
    _of("item", primary=True),
    _of("reference", primary=True),
    _of("project"),
    Column("state", Text, nullable=False),  # pending | sending | unknown | answered | stale | confirmed | refused
    Column("labels", JSON),  # what annotators see; null hides the model's answer
    Column("trust", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("not_before", Float, nullable=False, server_default=text("0")),
    Column("owner", Text),
    Column("error", Text),
    Column("at", Float, nullable=False),
    Index(None, "project_id", "state", "not_before"),
    sqlite_with_rowid=False,  # its rows are short, and asked for by their key
)

# What went wrong, the latest first: few, beside hundreds of thousands that went well.
Index(
    "ix_delivery_error",
    delivery.c.project_id,
    delivery.c.at,
    sqlite_where=text("error IS NOT NULL"),
    postgresql_where=text("error IS NOT NULL"),
)

# What a process holds at this moment: a few thousand at most. It is given back when the process ends.
_held = text("owner IS NOT NULL")
Index("ix_delivery_owner", delivery.c.owner, sqlite_where=_held, postgresql_where=_held)

field_write = Table(
    "field_write",
    metadata,
    _of("item", primary=True),
    _of("project"),
    Column("state", Text, nullable=False),  # pending | stale (what was written has changed) | written | failed
    Column("trust", Float, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("not_before", Float, nullable=False, server_default=text("0")),
    _of("dataset", null=True),
    Column("owner", Text),  # who is writing it at this moment
    Column("low", Float),  # the limits that were written
    Column("high", Float),
    Column("look_alikes", Integer),  # how many there were, as was written
    Column("at", Float),
    Index(None, "project_id", "state", "not_before", "trust"),
)

inbox = Table(  # on SQLite its rows are in a file of their own (database.Store.inbox), and the database's own table stays empty
    "inbox",
    metadata,
    _id(),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False, server_default="new"),  # new | done | failed
    Column("error", Text),
    Column("at", Float, nullable=False),
    Index(None, "state", "id"),
)

job = Table(
    "job",
    metadata,
    _id(),
    _of("project"),
    # recalibrate | limits | report | atlas | label audit | erase | training | versions | model <states.InsightKind>
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),  # states.JobState
    Column("owner", Text),
    Column("payload", JSON, nullable=False),
    Column("next_payload", JSON(none_as_null=True)),  # asked for while it runs: it is queued again with it
    Column("attempts", Integer, nullable=False, server_default=text("0")),  # without an end: a process died over it
    Column("not_before", Float, nullable=False, server_default=text("0")),  # when one that waits may be begun
    Column("text", Text, nullable=False, server_default=""),
    Column("done", BigInteger, nullable=False, server_default=text("0")),  # of the step that it is at
    Column("total", BigInteger),
    Column("step_at", Float),
    Column("at", Float, nullable=False),
    Column("finished_at", Float),
    Index(None, "state", "kind"),
)
# At most one open job per project and kind.
JOB_OPEN = text("state IN ('queued', 'running')")
Index("uq_job_open", job.c.project_id, job.c.kind, unique=True, sqlite_where=JOB_OPEN, postgresql_where=JOB_OPEN)

# -- what people answered

review = Table(
    "review",
    metadata,
    _id(),
    _of("project"),
    _of("item"),
    Column("external_id", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("labels", JSON),
    Column("skipped", Boolean, nullable=False),
    Column("empty", Boolean, nullable=False),
    Column("ground_truth", Boolean, nullable=False),
    Column("machine", Boolean, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("project_id", "external_id"),
    Index(None, "item_id"),
    Index(None, "project_id", "empty"),
    Index(None, "project_id", "updated_at"),
)
# People's first answer on an item beside each verdict on it: kept with both, so that no page puts them together (store.first_answers).
first_answer = Table(
    "first_answer",
    metadata,
    _of("project", primary=True),
    Column("reference_id", Id, primary_key=True, autoincrement=False),
    Column("item_id", Id, primary_key=True, autoincrement=False),
    Column("route", Text, nullable=False),  # the model's own
    Column("said", Text, nullable=False),  # its labels, in JSON
    Column("given", Text),  # people's; null where they had answered before the verdict
    ForeignKeyConstraint(["item_id", "reference_id"], ["verdict.item_id", "verdict.reference_id"], ondelete="CASCADE"),
    Index(None, "item_id", "reference_id"),
    sqlite_with_rowid=False,  # read along its key, the latest items first
)

_truths = (text("ground_truth = 1"), text("ground_truth"))  # few
Index("ix_review_ground_truth", review.c.project_id, sqlite_where=_truths[0], postgresql_where=_truths[1])

spot_check = Table(
    "spot_check",
    metadata,
    _of("item", primary=True),
    _of("project"),
    _of("reference"),
    Column("kind", Text, nullable=False),  # sample | audit
    Column("route", Text, nullable=False),  # the true one
    Column("share", Float),  # of the automatic items of its time that were drawn; 1: all of them; null: drawn later, for a certificate
    _of("dataset", null=True),  # on whose probation it counts
    Column("state", Text, nullable=False),  # open | disagreed (a second answer is wanted) | right | wrong
    Column("labels", JSON),  # what people say, once right or wrong
    Column("drawn_at", Float, nullable=False),
    Column("answered_at", Float),
    Column("decided_by", Text),  # who settled it, where nobody else was there to give a second answer
    Index(None, "project_id", "state", "item_id"),
    Index(None, "project_id", "answered_at"),
    # All that they are counted by.
    Index("ix_spot_check_counted", "project_id", "kind", "state", "answered_at"),
    Index("ix_spot_check_drawn", "project_id", "reference_id", "route", "state", "drawn_at"),
)
DISAGREED = text("spot_check.state = 'disagreed'")
_disagreed = text("state = 'disagreed'")  # few, and looked for by every page
_when = (spot_check.c.project_id, spot_check.c.answered_at)
Index("ix_spot_check_disagreed", *_when, sqlite_where=_disagreed, postgresql_where=_disagreed)

# Known answers to which people's are compared: tasks that are asked once more, as copies that nobody can tell from spot checks.
gold = Table(
    "gold",
    metadata,
    _id(),
    _of("project"),
    _of("item", name="source_id"),  # whose answer is known
    _of("item", null=True),  # its copy, once that is in the labeling tool: never judged, in no dataset
    Column("labels", JSON, nullable=False),  # the known answer
    Column("state", Text, nullable=False, server_default="waiting"),  # states.GoldState
    Column("fits", Boolean, nullable=False, server_default=true()),  # the labeling config still offers the known answer
    Column("linked", Boolean, nullable=False, server_default=false()),  # its copy has the link to its page, as spot checks have
    Column("trust", Float),  # its place among the tasks that are handed out
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("sent_at", Float),
    Column("brought_at", Float),
    Column("answered_at", Float),
    Column("given", JSON),  # what people said, once they have
    Index(None, "project_id", "state"),
    Index(None, "source_id"),
    Index(None, "item_id", unique=True),
)

# What is fixed of the automatic labels of a dataset, so that something can be certified of them (service.guarantee.certifying).
certificate = Table(
    "certificate",
    metadata,
    _id(),
    _of("project"),
    _of("dataset"),
    _of("reference"),
    Column("until", Float, nullable=False),  # items that came in before
    Column("labels", Integer, nullable=False),  # automatic ones: N
    Column("gone", Integer, nullable=False),  # of them deleted in the labeling tool by then
    Column("random", Integer, nullable=False),  # checks drawn at random, and in parts that were checked completely;
    Column("whole", Integer, nullable=False),  # those whose items were erased since count as wrong
    Column("wanted", Integer),  # wrong labels at most, for which the checks were drawn; null: those that were drawn anyway
    Column("fixed", Boolean, nullable=False),  # nobody could know the answers when the number of checks was chosen
    Column("data_hash", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index(None, "project_id", "id"),
    Index(None, "dataset_id"),
)

# The checks of a certificate: those that were drawn at random, and parts of the dataset of which everything was checked.
certificate_item = Table(
    "certificate_item",
    metadata,
    _of("certificate", primary=True),
    _of("item", primary=True),
    Column("whole", Boolean, nullable=False),
    Index(None, "item_id"),
)

acceptance = Table(
    "acceptance",
    metadata,
    _id(),
    _of("project"),
    _of("reference"),
    Column("at", Float, nullable=False),
    Column("undone_at", Float),
)

accepted = Table(
    "accepted",
    metadata,
    _of("item", primary=True),
    _of("acceptance"),
    Column("state", Text, nullable=False),  # asked | made | undoing | undone
    Column("review", Text),  # external id of the annotation; none while the outcome is unknown
    Index(None, "acceptance_id"),
)
_open = text("state IN ('asked', 'undoing')")  # few, and looked for all the time
Index("ix_accepted_open", accepted.c.item_id, sqlite_where=_open, postgresql_where=_open)

# A group of items that look alike, of which people answer some, drawn at random, so that the rest can be labelled at once.
proposal = Table(
    "proposal",
    metadata,
    _id(),
    _of("project"),
    _of("proposal", name="parent_id", null=True, on_delete="SET NULL"),  # of which it is a half
    Column("reason", Text, nullable=False),  # what makes them a group
    Column("members", Integer, nullable=False),
    Column("group_error", Float, nullable=False),  # share of the rest that may have another label
    Column("confidence", Float, nullable=False),  # of that, shared with earlier attempts at the same items
    Column("state", Text, nullable=False),  # states.ProposalState
    Column("asked", Integer, nullable=False, server_default=text("0")),  # the first so many members are answered blind
    Column("in_tab", Integer, nullable=False, server_default=text("0")),  # of them the labeling tool has so many in a tab
    Column("labels", JSON(none_as_null=True)),  # the group's, once it is shown
    Column("note", Text, nullable=False, server_default=""),  # what keeps it from going on
    _of("acceptance", null=True, on_delete="SET NULL"),  # by which its labels became annotations
    _of("rerouting", null=True, on_delete="SET NULL"),  # by which they left the queue
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("labelled_by", Text),
    Column("labelled_at", Float),
    Index(None, "project_id", "state"),
    Index(None, "project_id", "id"),
)

proposal_member = Table(
    "proposal_member",
    metadata,
    _of("proposal", primary=True),
    _of("item", primary=True),
    Column("place", Integer, nullable=False),  # in the order of the draw
    Column("active", Boolean, nullable=False),  # as long as the proposal goes on
    Column("at_once", Boolean, nullable=False, server_default=false()),  # it got the group's label without an answer
    Index(None, "item_id"),
)
# An item is in one group at a time.
_active = (text("active = 1"), text("active"))
Index("uq_proposal_member_active", proposal_member.c.item_id, unique=True, sqlite_where=_active[0], postgresql_where=_active[1])

# A model that a project trained, its reference and its report.
training = Table(
    "training",
    metadata,
    _id(),
    _of("project"),
    _of("reference", name="former_id"),
    _of("reference"),
    Column("facts", JSON, nullable=False),  # training_facts
    _of("stored_file", null=True, on_delete="SET NULL"),  # the report; None once an item was erased, whose picture may be in it
    Column("state", Text, nullable=False),  # states.TrainedState
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    Index(None, "project_id", "id"),
)

# The latest audit of a project's labels, and the labels that it doubts.
label_audit = Table(
    "label_audit",
    metadata,
    _of("project", primary=True),
    Column("facts", JSON, nullable=False),  # LabelAudit.summary
    Column("at", Float, nullable=False),
)

# What jobs found inside the model of a project: the latest of each kind.
insight = Table(
    "insight",
    metadata,
    _id(),
    _of("project"),
    Column("kind", Text, nullable=False),  # states.InsightKind
    Column("version", Text, nullable=False),  # of the reference that it was found with
    Column("facts", JSON, nullable=False),  # what the page shows at once
    Column("at", Float, nullable=False),
    UniqueConstraint("project_id", "kind"),
    sqlite_autoincrement=True,  # an id is never given again: browsers keep pieces by it, and faces know their atlas by it
)

# What a page about it fetches by itself: pictures, and figures of which there are many.
insight_piece = Table(
    "insight_piece",
    metadata,
    _of("insight", primary=True),
    Column("name", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

finding = Table(
    "finding",
    metadata,
    _of("item", primary=True),
    _of("project"),
    Column("place", Integer, nullable=False),  # in the order in which to look
    Column("kind", Text, nullable=False),  # states.IssueKind
    Column("given", JSON, nullable=False),  # the labels that were doubted
    Column("likely", JSON, nullable=False),
    Column("score", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("agree", Boolean, nullable=False),
    Column("state", Text, nullable=False, server_default="open"),  # states.FindingState
    Column("decided_by", Text),  # who said that the label is right
    Column("shown", Boolean, nullable=False, server_default=false()),  # a prediction in the labeling tool says what is likely
    Index(None, "project_id", "state", "place"),
)

# What two references make of the same items, drawn at random: the latest time that somebody asked, of each two.
version_comparison = Table(
    "version_comparison",
    metadata,
    _id(),
    _of("project"),
    _of("reference", name="before_id"),
    _of("reference", name="after_id"),
    Column("total", Integer, nullable=False),  # items that they were drawn from
    Column("by", Text, nullable=False),
    Column("at", Float, nullable=False),
    UniqueConstraint("project_id", "before_id", "after_id"),
)

compared_item = Table(
    "compared_item",
    metadata,
    _of("version_comparison", primary=True),
    _of("item", primary=True),
    Column("before_route", Text, nullable=False),  # as the model judged
    Column("before_labels", JSON, nullable=False),
    Column("after_route", Text, nullable=False),
    Column("after_labels", JSON, nullable=False),
    Index(None, "item_id"),
)

# -- the service itself

event = Table(
    "event",
    metadata,
    _id(),
    _of("project"),
    Column("kind", Text, nullable=False),  # states.EventKind
    Column("facts", JSON, nullable=False),  # by name, what advice.event_words takes
    Column("at", Float, nullable=False),
    Index(None, "project_id", "id"),
)

# Events that people are to be told of elsewhere, one row per way; gone once they are told.
notice = Table(
    "notice",
    metadata,
    _of("event", primary=True),
    Column("way", Text, primary_key=True),  # states.NoticeWay
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("not_before", Float, nullable=False, server_default=text("0")),
    Index(None, "way", "not_before"),
)

before_connecting = Table(  # how projects were before: outlives the project's row, and is there before that is made
    "before_connecting",
    metadata,
    Column("external_id", Text, primary_key=True),
    Column("facts", JSON, nullable=False),  # labeling_tool.Before
    Column("at", Float, nullable=False),
)

# Tasks whose items were erased: not the task, but by what it is known again, so that no sweep takes it in while it stands in the tool.
erased = Table("erased", metadata, _of("project", primary=True), Column("mark", Text, primary_key=True))

# The last migration that code must know to run on this database (store.upgrading): one row.
needed_migration = Table("needed_migration", metadata, Column("revision", Text, primary_key=True))

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("role", Text, nullable=False),  # web | worker | jobs
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("at", Float, nullable=False),
    Column("text", Text, nullable=False, server_default=""),
)

# People with an account of their own, besides the service's own user.
person = Table(
    "person",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),  # states.Role
    Column("password", Text),  # a salted hash (store.people); null: a proxy signs them in
    Column("at", Float, nullable=False),
)

# Who did what, in order.
deed = Table(
    "deed",
    metadata,
    _id(),
    Column("person", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("path", Text, nullable=False, server_default=""),
    Column("status", Integer, nullable=False, server_default=text("200")),  # of the answer: from 400 on it was refused
    Column("at", Float, nullable=False),
)

secret = Table("secret", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

session = Table(
    "session",
    metadata,
    Column("key", Text, primary_key=True),
    Column("user", Text, nullable=False),
    Column("granted", Text),  # states.Role, by an identity provider; null: signed in with a password
    Column("ends_at", Float, nullable=False),
)
