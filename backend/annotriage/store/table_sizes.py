"""How large the tables of the database grow, for SQLite, which plans its queries by it."""

from __future__ import annotations

from sqlalchemy import Connection, column, table

# By table and index what SQLite counts in ANALYZE: its rows, and of these how many there are on average of one value of its first column,
# of one of its first two, and so on; here those of a million items in five projects. Where nobody has counted SQLite takes it that a
# project has ten rows, would rather read all that belongs to one than ask for what is wanted of it, and does so for each of ten thousand
# answers. Counted in a database that is new, small or all of one kind, figures would be as wrong. PostgreSQL counts by itself.
SIZES = {
    "item": {
        "sqlite_autoindex_item_1": "1000000 200000 1",  # project_id, external_id
        "uq_item_marker": "1000000 1",
        "ix_item_answered": "1000000 200000 100000 6",
        "ix_item_gone": "1000 200",
        "ix_item_labelled": "100000 20000 1",
        "ix_item_newest": "1000000 200000 100000 100000 100000 100000 33000 1",
        "ix_item_project_id_id": "1000000 200000 1",
        "ix_item_queue": "1000000 200000 100000 100000 100000 100000 33000 1 1",
        "ix_item_rerouting_id": "1000000 1000",
        "ix_item_resolved": "150000 30000 15000 1",
        "ix_item_sent": "1000 200",
        "ix_item_strange": "10000 2000 1",
    },
    "item_dataset": {"item_dataset": "3000000 187500 1", "ix_item_dataset_item_id": "3000000 3"},
    "verdict": {
        "sqlite_autoindex_verdict_1": "1000000 1 1",  # item_id, reference_id
        "ix_verdict_failure": "2000 400 400 1 1",
        "ix_verdict_preview": "1000000 200000 100000 10000 1 1 1",
        "ix_verdict_project_id_reference_id_at": "1000000 200000 100000 1",
    },
    "review": {
        "sqlite_autoindex_review_1": "200000 40000 1",  # project_id, external_id
        "ix_review_ground_truth": "1000 200",
        "ix_review_item_id": "200000 1",
        "ix_review_project_id_empty": "200000 40000 20000",
        "ix_review_project_id_updated_at": "200000 40000 1",
    },
    "first_answer": {"first_answer": "200000 40000 20000 1", "ix_first_answer_item_id_reference_id": "200000 1 1"},
    "spot_check": {
        "ix_spot_check_counted": "30000 6000 3000 1000 2",
        "ix_spot_check_disagreed": "100 20 1",
        "ix_spot_check_drawn": "30000 6000 3000 1500 500 1",
        "ix_spot_check_project_id_answered_at": "30000 6000 2",
        "ix_spot_check_project_id_state_item_id": "30000 6000 2000 1",
    },
    "group_member": {
        "sqlite_autoindex_group_member_1": "5000 5000 1",  # dataset_id, item_id
        "ix_group_member_dataset_id_number_item_id": "5000 5000 500 1",
        "ix_group_member_item_id": "5000 1",
    },
}


def tell_sizes(connection: Connection) -> None:
    """Let SQLite know for how large a database it plans its queries, in place of whatever it was told before."""
    connection.exec_driver_sql("ANALYZE needed_migration")  # makes the table for it
    sizes = table("sqlite_stat1", column("tbl"), column("idx"), column("stat"))
    connection.execute(sizes.delete())
    rows = [{"tbl": of, "idx": name, "stat": size} for of, indexes in SIZES.items() for name, size in indexes.items()]
    connection.execute(sizes.insert(), rows)
    connection.exec_driver_sql("ANALYZE sqlite_schema")  # this connection reads it anew; others do as they open
