"""The first schema"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The first schema."""
    op.create_table(
        "before_connecting",
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("external_id", name=op.f("pk_before_connecting")),
    )
    op.create_table(
        "person",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_person")),
    )
    op.create_table(
        "deed",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), server_default="", nullable=False),
        sa.Column("status", sa.Integer(), server_default=sa.text("200"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deed")),
    )
    op.create_table(
        "needed_migration",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_needed_migration")),
    )
    op.create_table(
        "heartbeat",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_heartbeat")),
    )
    op.create_table(
        "inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), server_default="new", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_inbox")),
    )
    with op.batch_alter_table("inbox", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_inbox_state_id"), ["state", "id"], unique=False)

    op.create_table(
        "reference",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prediction_version", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("curve", sa.JSON(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reference")),
        sa.UniqueConstraint("prediction_version", name=op.f("uq_reference_prediction_version")),
        sa.UniqueConstraint("version", name=op.f("uq_reference_version")),
    )
    op.create_table(
        "secret",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secret")),
    )
    op.create_table(
        "session",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("granted", sa.Text(), nullable=True),
        sa.Column("ends_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_session")),
    )
    op.create_table(
        "stored_file",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stored_file")),
        sa.UniqueConstraint("hash", name=op.f("uq_stored_file_hash")),
    )
    op.create_table(
        "file_piece",
        sa.Column("stored_file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["stored_file_id"], ["stored_file.id"], name=op.f("fk_file_piece_stored_file_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("stored_file_id", "number", name=op.f("pk_file_piece")),
    )
    op.create_table(
        "project",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("next_reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("old_reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("watch", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("paused_at", sa.Float(), nullable=True),
        sa.Column("pause_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("alarm", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("gone", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("config", sa.Text(), server_default="", nullable=False),
        sa.Column("wanted", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("shown_version", sa.Text(), server_default="", nullable=False),
        sa.Column("last_task", sa.Text(), server_default="", nullable=False),
        sa.Column("changes_until", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("read_until", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("swept_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("told_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("standing", sa.JSON(), nullable=True),
        sa.Column("restored_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["next_reference_id"], ["reference.id"], name=op.f("fk_project_next_reference_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["old_reference_id"], ["reference.id"], name=op.f("fk_project_old_reference_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_project_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("external_id", name=op.f("uq_project_external_id")),
    )
    op.create_table(
        "erased",
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_erased_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project_id", "mark", name=op.f("pk_erased")),
    )
    op.create_table(
        "reference_edge",
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_reference_edge_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("reference_id", "cluster", name=op.f("pk_reference_edge")),
    )
    op.create_table(
        "reference_file",
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("stored_file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_reference_file_reference_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["stored_file_id"], ["stored_file.id"], name=op.f("fk_reference_file_stored_file_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("reference_id", "path", name=op.f("pk_reference_file")),
    )
    op.create_table(
        "reference_grid",
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("alpha", sa.Float(), nullable=False),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("taus", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_reference_grid_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("reference_id", "alpha", name=op.f("pk_reference_grid")),
    )
    op.create_table(
        "training_item",
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("thumbnail", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_training_item_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("reference_id", "place", name=op.f("pk_training_item")),
    )
    op.create_table(
        "acceptance",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("undone_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_acceptance_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_acceptance_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acceptance")),
    )
    op.create_table(
        "insight",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_insight_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_insight")),
        sa.UniqueConstraint("project_id", "kind", name=op.f("uq_insight_project_id_kind")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "insight_piece",
        sa.Column("insight_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["insight_id"], ["insight.id"], name=op.f("fk_insight_piece_insight_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("insight_id", "name", name=op.f("pk_insight_piece")),
    )
    op.create_table(
        "label_audit",
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_label_audit_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_label_audit")),
    )
    op.create_table(
        "dataset",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("augmented", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_dataset_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset")),
        sa.UniqueConstraint("project_id", "kind", "name", name=op.f("uq_dataset_project_id_kind_name")),
    )
    op.create_table(
        "saved_view",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("page", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_saved_view_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_view")),
        sa.UniqueConstraint("project_id", "page", "name", name=op.f("uq_saved_view_project_id_page_name")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_event_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_project_id_id"), ["project_id", "id"], unique=False)

    op.create_table(
        "notice",
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("way", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name=op.f("fk_notice_event_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("event_id", "way", name=op.f("pk_notice")),
    )
    with op.batch_alter_table("notice", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notice_way_not_before"), ["way", "not_before"], unique=False)

    op.create_table(
        "job",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("next_payload", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.Column("done", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("step_at", sa.Float(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_job_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_state_kind"), ["state", "kind"], unique=False)
        batch_op.create_index(
            "uq_job_open",
            ["project_id", "kind"],
            unique=True,
            sqlite_where=sa.text("state IN ('queued', 'running')"),
            postgresql_where=sa.text("state IN ('queued', 'running')"),
        )

    op.create_table(
        "map",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("progress", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.Column("training", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("fitted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("frame", sa.JSON(), nullable=True),
        sa.Column("names", sa.JSON(), nullable=True),
        sa.Column("read_until", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_map_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_map_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_map")),
    )
    with op.batch_alter_table("map", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_map_project_id_method_id"), ["project_id", "method", "id"], unique=False)

    op.create_table(
        "rerouting",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("to", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("n", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("undone_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_rerouting_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rerouting")),
    )
    op.create_table(
        "counter",
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("checks", sa.Integer(), nullable=False),
        sa.Column("open_checks", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_counter_dataset_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_counter_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id", "reference_id", "route", "cluster", name=op.f("pk_counter")),
    )
    op.create_table(
        "item",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("marker", sa.Text(), nullable=True),
        sa.Column("media", sa.Text(), nullable=False),
        sa.Column("media_hash", sa.Text(), nullable=False),
        sa.Column("group", sa.Text(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.Column("wanted", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("labelled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("gone", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("shown_dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("route", sa.Text(), nullable=True),
        sa.Column("trust", sa.Float(), nullable=True),
        sa.Column("dismissed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("answer", sa.Text(), server_default="open", nullable=False),
        sa.Column("labels", sa.JSON(), nullable=True),
        sa.Column("machine", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.Column("sent_by", sa.Text(), nullable=True),
        sa.Column("rerouting_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("changed_at", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_item_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["rerouting_id"], ["rerouting.id"], name=op.f("fk_item_rerouting_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["shown_dataset_id"], ["dataset.id"], name=op.f("fk_item_shown_dataset_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item")),
        sa.UniqueConstraint("project_id", "external_id", name=op.f("uq_item_project_id_external_id")),
    )
    with op.batch_alter_table("item", schema=None) as batch_op:
        batch_op.create_index("ix_item_answered", ["project_id", "machine", "answered_at"], unique=False)
        batch_op.create_index(
            "uq_item_marker",
            ["marker"],
            unique=True,
            sqlite_where=sa.text("marker IS NOT NULL"),
            postgresql_where=sa.text("marker IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_item_gone", ["project_id"], unique=False, sqlite_where=sa.text("gone = 1"), postgresql_where=sa.text("gone")
        )
        batch_op.create_index(
            "ix_item_labelled",
            ["project_id", "id"],
            unique=False,
            sqlite_where=sa.text("labelled"),
            postgresql_where=sa.text("labelled"),
        )
        batch_op.create_index(
            "ix_item_newest",
            ["project_id", "answer", "dismissed", "labelled", "gone", "route", "id"],
            unique=False,
            sqlite_where=sa.text("route IS NOT NULL"),
            postgresql_where=sa.text("route IS NOT NULL"),
        )
        batch_op.create_index(batch_op.f("ix_item_project_id_id"), ["project_id", "id"], unique=False)
        batch_op.create_index(
            "ix_item_queue",
            ["project_id", "answer", "dismissed", "labelled", "gone", "route", "trust", "id"],
            unique=False,
            sqlite_where=sa.text("route IS NOT NULL"),
            postgresql_where=sa.text("route IS NOT NULL"),
        )
        batch_op.create_index(batch_op.f("ix_item_rerouting_id"), ["rerouting_id"], unique=False)
        batch_op.create_index(
            "ix_item_resolved",
            ["project_id", "answer", "id"],
            unique=False,
            sqlite_where=sa.text("answer <> 'open'"),
            postgresql_where=sa.text("answer <> 'open'"),
        )
        batch_op.create_index(
            "ix_item_sent",
            ["project_id"],
            unique=False,
            sqlite_where=sa.text("sent_by IS NOT NULL"),
            postgresql_where=sa.text("sent_by IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_item_strange",
            ["project_id", "answered_at"],
            unique=False,
            sqlite_where=sa.text("route = 'outlier' AND answer = 'resolved' AND NOT machine"),
            postgresql_where=sa.text("route = 'outlier' AND answer = 'resolved' AND NOT machine"),
        )

    op.create_table(
        "map_piece",
        sa.Column("map_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["map_id"], ["map.id"], name=op.f("fk_map_piece_map_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("map_id", "number", name=op.f("pk_map_piece")),
    )
    op.create_table(
        "report",
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("stored_file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_report_dataset_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["stored_file_id"], ["stored_file.id"], name=op.f("fk_report_stored_file_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id", "kind", name=op.f("pk_report")),
    )
    op.create_table(
        "snapshot",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("outliers", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_snapshot_dataset_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_snapshot_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
    )
    with op.batch_alter_table("snapshot", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_snapshot_dataset_id_at"), ["dataset_id", "at"], unique=False)

    op.create_table(
        "accepted",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("acceptance_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("review", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["acceptance_id"], ["acceptance.id"], name=op.f("fk_accepted_acceptance_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_accepted_item_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_accepted")),
    )
    with op.batch_alter_table("accepted", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_accepted_acceptance_id"), ["acceptance_id"], unique=False)
        batch_op.create_index(
            "ix_accepted_open",
            ["item_id"],
            unique=False,
            sqlite_where=sa.text("state IN ('asked', 'undoing')"),
            postgresql_where=sa.text("state IN ('asked', 'undoing')"),
        )

    op.create_table(
        "finding",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("given", sa.JSON(), nullable=False),
        sa.Column("likely", sa.JSON(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("agree", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("shown", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_finding_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_finding_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_finding")),
    )
    with op.batch_alter_table("finding", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_finding_project_id_state_place"), ["project_id", "state", "place"], unique=False)

    op.create_table(
        "gold",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("fits", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("linked", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("trust", sa.Float(), nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("sent_at", sa.Float(), nullable=True),
        sa.Column("brought_at", sa.Float(), nullable=True),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.Column("given", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_gold_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_gold_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["source_id"], ["item.id"], name=op.f("fk_gold_source_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gold")),
    )
    with op.batch_alter_table("gold", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_gold_item_id"), ["item_id"], unique=True)
        batch_op.create_index(batch_op.f("ix_gold_project_id_state"), ["project_id", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_gold_source_id"), ["source_id"], unique=False)

    op.create_table(
        "delivery",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=True),
        sa.Column("trust", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_delivery_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_delivery_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_delivery_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", "reference_id", name=op.f("pk_delivery")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("delivery", schema=None) as batch_op:
        batch_op.create_index(
            "ix_delivery_error",
            ["project_id", "at"],
            unique=False,
            sqlite_where=sa.text("error IS NOT NULL"),
            postgresql_where=sa.text("error IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_delivery_owner",
            ["owner"],
            unique=False,
            sqlite_where=sa.text("owner IS NOT NULL"),
            postgresql_where=sa.text("owner IS NOT NULL"),
        )
        batch_op.create_index(batch_op.f("ix_delivery_project_id_state_not_before"), ["project_id", "state", "not_before"], unique=False)

    op.create_table(
        "field_write",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("trust", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("low", sa.Float(), nullable=True),
        sa.Column("high", sa.Float(), nullable=True),
        sa.Column("look_alikes", sa.Integer(), nullable=True),
        sa.Column("at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_field_write_dataset_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_field_write_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_field_write_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_field_write")),
    )
    with op.batch_alter_table("field_write", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_field_write_project_id_state_not_before_trust"), ["project_id", "state", "not_before", "trust"], unique=False
        )

    op.create_table(
        "group_member",
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_group_member_dataset_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_group_member_item_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id", "item_id", name=op.f("pk_group_member")),
    )
    with op.batch_alter_table("group_member", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_group_member_dataset_id_number_item_id"), ["dataset_id", "number", "item_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_group_member_item_id"), ["item_id"], unique=False)

    op.create_table(
        "item_dataset",
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_item_dataset_dataset_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_item_dataset_item_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id", "item_id", name=op.f("pk_item_dataset")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("item_dataset", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_item_dataset_item_id"), ["item_id"], unique=False)

    op.create_table(
        "point",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("compressed", sa.LargeBinary(), nullable=False),
        sa.Column("nearest", sa.LargeBinary(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_point_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_point_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", "reference_id", name=op.f("pk_point")),
    )
    with op.batch_alter_table("point", schema=None) as batch_op:
        batch_op.create_index(
            "ix_point_uncompared",
            ["reference_id", "item_id"],
            unique=False,
            sqlite_where=sa.text("fingerprint IS NULL"),
            postgresql_where=sa.text("fingerprint IS NULL"),
        )

    op.create_table(
        "twin",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("twin_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("distance", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_twin_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_twin_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["twin_id"], ["item.id"], name=op.f("fk_twin_twin_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_twin")),
    )
    with op.batch_alter_table("twin", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_twin_project_id_state"), ["project_id", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_twin_twin_id"), ["twin_id"], unique=False)

    op.create_table(
        "proposal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.Column("group_error", sa.Float(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("in_tab", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("labels", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("acceptance_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("rerouting_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("labelled_by", sa.Text(), nullable=True),
        sa.Column("labelled_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["acceptance_id"], ["acceptance.id"], name=op.f("fk_proposal_acceptance_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["parent_id"], ["proposal.id"], name=op.f("fk_proposal_parent_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_proposal_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["rerouting_id"], ["rerouting.id"], name=op.f("fk_proposal_rerouting_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal")),
    )
    with op.batch_alter_table("proposal", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_proposal_project_id_id"), ["project_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_proposal_project_id_state"), ["project_id", "state"], unique=False)

    op.create_table(
        "proposal_member",
        sa.Column("proposal_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("at_once", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_proposal_member_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["proposal_id"], ["proposal.id"], name=op.f("fk_proposal_member_proposal_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("proposal_id", "item_id", name=op.f("pk_proposal_member")),
    )
    with op.batch_alter_table("proposal_member", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_proposal_member_item_id"), ["item_id"], unique=False)
        batch_op.create_index(
            "uq_proposal_member_active", ["item_id"], unique=True, sqlite_where=sa.text("active = 1"), postgresql_where=sa.text("active")
        )

    op.create_table(
        "spot_check",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("share", sa.Float(), nullable=True),
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=True),
        sa.Column("drawn_at", sa.Float(), nullable=False),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_spot_check_dataset_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_spot_check_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_spot_check_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_spot_check_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_spot_check")),
    )
    with op.batch_alter_table("spot_check", schema=None) as batch_op:
        batch_op.create_index("ix_spot_check_counted", ["project_id", "kind", "state", "answered_at"], unique=False)
        batch_op.create_index("ix_spot_check_drawn", ["project_id", "reference_id", "route", "state", "drawn_at"], unique=False)
        batch_op.create_index(
            "ix_spot_check_disagreed",
            ["project_id", "answered_at"],
            unique=False,
            sqlite_where=sa.text("state = 'disagreed'"),
            postgresql_where=sa.text("state = 'disagreed'"),
        )
        batch_op.create_index(batch_op.f("ix_spot_check_project_id_answered_at"), ["project_id", "answered_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_spot_check_project_id_state_item_id"), ["project_id", "state", "item_id"], unique=False)

    op.create_table(
        "certificate",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("labels", sa.Integer(), nullable=False),
        sa.Column("gone", sa.Integer(), nullable=False),
        sa.Column("random", sa.Integer(), nullable=False),
        sa.Column("whole", sa.Integer(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=True),
        sa.Column("fixed", sa.Boolean(), nullable=False),
        sa.Column("data_hash", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["dataset.id"], name=op.f("fk_certificate_dataset_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_certificate_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_certificate_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate")),
    )
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_certificate_dataset_id"), ["dataset_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_certificate_project_id_id"), ["project_id", "id"], unique=False)

    op.create_table(
        "certificate_item",
        sa.Column("certificate_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["certificate_id"], ["certificate.id"], name=op.f("fk_certificate_item_certificate_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_certificate_item_item_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("certificate_id", "item_id", name=op.f("pk_certificate_item")),
    )
    with op.batch_alter_table("certificate_item", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_certificate_item_item_id"), ["item_id"], unique=False)

    op.create_table(
        "review",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("annotator", sa.Text(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=True),
        sa.Column("skipped", sa.Boolean(), nullable=False),
        sa.Column("empty", sa.Boolean(), nullable=False),
        sa.Column("ground_truth", sa.Boolean(), nullable=False),
        sa.Column("machine", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_review_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_review_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint("project_id", "external_id", name=op.f("uq_review_project_id_external_id")),
    )
    with op.batch_alter_table("review", schema=None) as batch_op:
        batch_op.create_index(
            "ix_review_ground_truth",
            ["project_id"],
            unique=False,
            sqlite_where=sa.text("ground_truth = 1"),
            postgresql_where=sa.text("ground_truth"),
        )
        batch_op.create_index(batch_op.f("ix_review_item_id"), ["item_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_review_project_id_empty"), ["project_id", "empty"], unique=False)
        batch_op.create_index(batch_op.f("ix_review_project_id_updated_at"), ["project_id", "updated_at"], unique=False)

    op.create_table(
        "thumbnail",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_thumbnail_item_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_thumbnail")),
    )
    op.create_table(
        "training",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("former_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("stored_file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["former_id"], ["reference.id"], name=op.f("fk_training_former_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_training_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_training_reference_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["stored_file_id"], ["stored_file.id"], name=op.f("fk_training_stored_file_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training")),
    )
    with op.batch_alter_table("training", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_training_project_id_id"), ["project_id", "id"], unique=False)

    op.create_table(
        "verdict",
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("judged", sa.Text(), nullable=False),
        sa.Column("held_back", sa.Text(), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("label", sa.Text(), server_default="", nullable=False),
        sa.Column("cluster", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=True),
        sa.Column("sureness", sa.Float(), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("class_score", sa.Float(), nullable=True),
        sa.Column("source_score", sa.Float(), nullable=True),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.Column("p_value", sa.Float(), nullable=True),
        sa.Column("outlier_score", sa.Float(), nullable=True),
        sa.Column("trust", sa.Float(), nullable=False),
        sa.Column("shown_trust", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_verdict_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_verdict_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_verdict_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", "reference_id", name=op.f("pk_verdict")),
    )
    with op.batch_alter_table("verdict", schema=None) as batch_op:
        batch_op.create_index(
            "ix_verdict_failure",
            ["project_id", "reference_id", "item_id", "failure"],
            unique=False,
            sqlite_where=sa.text("failure IS NOT NULL"),
            postgresql_where=sa.text("failure IS NOT NULL"),
        )
        batch_op.create_index("ix_verdict_preview", ["project_id", "reference_id", "label", "item_id", "score", "sureness"], unique=False)
        batch_op.create_index(batch_op.f("ix_verdict_project_id_reference_id_at"), ["project_id", "reference_id", "at"], unique=False)

    op.create_table(
        "first_answer",
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=False),
        sa.Column("given", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["item_id", "reference_id"],
            ["verdict.item_id", "verdict.reference_id"],
            name=op.f("fk_first_answer_item_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_first_answer_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("project_id", "reference_id", "item_id", name=op.f("pk_first_answer")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("first_answer", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_first_answer_item_id_reference_id"), ["item_id", "reference_id"], unique=False)

    op.create_table(
        "version_comparison",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("before_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("after_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["after_id"], ["reference.id"], name=op.f("fk_version_comparison_after_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["before_id"], ["reference.id"], name=op.f("fk_version_comparison_before_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_version_comparison_project_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_version_comparison")),
        sa.UniqueConstraint("project_id", "before_id", "after_id", name=op.f("uq_version_comparison_project_id_before_id_after_id")),
    )
    op.create_table(
        "compared_item",
        sa.Column("version_comparison_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("before_route", sa.Text(), nullable=False),
        sa.Column("before_labels", sa.JSON(), nullable=False),
        sa.Column("after_route", sa.Text(), nullable=False),
        sa.Column("after_labels", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_compared_item_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["version_comparison_id"],
            ["version_comparison.id"],
            name=op.f("fk_compared_item_version_comparison_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("version_comparison_id", "item_id", name=op.f("pk_compared_item")),
    )
    with op.batch_alter_table("compared_item", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_compared_item_item_id"), ["item_id"], unique=False)

    op.create_table(
        "work",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("item_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("reference_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("project_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("not_before", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.Float(), nullable=True),
        sa.Column("urgent", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_work_item_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_work_project_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reference_id"], ["reference.id"], name=op.f("fk_work_reference_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work")),
        sa.UniqueConstraint("item_id", "reference_id", name=op.f("uq_work_item_id_reference_id")),
    )
    with op.batch_alter_table("work", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_work_project_id_reference_id"), ["project_id", "reference_id"], unique=False)
        batch_op.create_index("ix_work_order", [sa.literal_column("urgent DESC"), "id"], unique=False)
