"""What was learned before signatures were compared is compared, too."""

import psycopg
from alembic import command
from sqlalchemy import create_engine

from brainops.config.paths import StatePaths
from brainops.database import migrate
from brainops.database.urls import connection_string, parse_url

_OLD = """
    INSERT INTO brainops.knowledge_base (tenant_id, problem_signature, problem_description, solution, remedy, actions,
        success_rate, usage_count, last_used, plan_id, workflow_id, run_id)
    VALUES ('default', %s, %s, 's', 'restart', '[]', 1, 1, now(), gen_random_uuid(), 'w', 'r')
"""
_ENTRIES = {
    "crash/process/exited/0001": "the process ended (exit 1): KeyError: <value>; a declared file is changed",
    "hang/http/timeout/0002": "the process runs and does not answer",
    "crash/process/exited/0003": "the process ended (signal 9)",
}


def test_older_entries_get_their_parts_from_key_and_description(
    empty_database_url: str, server_paths: StatePaths
) -> None:
    migrate.upgrade(empty_database_url, server_paths)
    engine = create_engine(parse_url(empty_database_url))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA brainops CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA brainops")
        connection.exec_driver_sql(
            "COMMENT ON SCHEMA brainops IS 'Made by BrainOps. Everything that it keeps stands here.'"
        )
        command.upgrade(migrate._alembic(connection), "0002")  # pyright: ignore[reportPrivateUsage]
    engine.dispose()
    with psycopg.connect(connection_string(empty_database_url), autocommit=True) as connection:
        for key, description in _ENTRIES.items():
            connection.execute(_OLD, (key, description))
    migrate.upgrade(empty_database_url, server_paths)
    with psycopg.connect(connection_string(empty_database_url)) as connection:
        rows = connection.execute(
            "SELECT kind, check_kind, reason, ending, template, facts, origin FROM brainops.knowledge_base"
            " ORDER BY problem_signature"
        ).fetchall()
        forced = connection.execute(
            "SELECT relforcerowsecurity FROM pg_class WHERE oid = 'brainops.knowledge_base'::regclass"
        ).fetchone()
    assert rows == [
        ("crash", "process", "exited", "exit 1", "KeyError: <value>", ["a declared file is changed"], "learned"),
        ("crash", "process", "exited", "signal 9", "", [], "learned"),
        ("hang", "http", "timeout", "", "", [], "learned"),
    ]
    assert forced == (True,)
