"""Knowledge that travels: similar signatures, what people and other installations know, retirement.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What a signature is made of is compared, so it is kept; of older entries it is read from key and description.
_UPGRADE = (
    """
    ALTER TABLE knowledge_base
        ADD COLUMN kind text DEFAULT '' NOT NULL,
        ADD COLUMN check_kind text DEFAULT '' NOT NULL,
        ADD COLUMN reason text DEFAULT '' NOT NULL,
        ADD COLUMN ending text DEFAULT '' NOT NULL,
        ADD COLUMN template text DEFAULT '' NOT NULL,
        ADD COLUMN facts jsonb DEFAULT '[]'::jsonb NOT NULL,
        ADD COLUMN origin text DEFAULT 'learned' NOT NULL,
        ADD COLUMN author text DEFAULT '' NOT NULL,
        ADD COLUMN told_successes integer DEFAULT 0 NOT NULL,
        ADD COLUMN told_failures integer DEFAULT 0 NOT NULL,
        ADD COLUMN retired_at timestamptz,
        ADD COLUMN retired_reason text DEFAULT '' NOT NULL,
        ADD CONSTRAINT knowledge_base_origin_check CHECK (origin IN ('learned', 'person', 'import')),
        ALTER COLUMN last_used DROP NOT NULL,
        ALTER COLUMN plan_id DROP NOT NULL,
        ALTER COLUMN workflow_id SET DEFAULT '',
        ALTER COLUMN run_id SET DEFAULT ''
    """,
    # Row-level security is forced: an owner that is no superuser would change no row.
    "ALTER TABLE knowledge_base NO FORCE ROW LEVEL SECURITY",
    """
    UPDATE knowledge_base SET
        kind = split_part(problem_signature, '/', 1),
        check_kind = split_part(problem_signature, '/', 2),
        reason = split_part(problem_signature, '/', 3),
        ending = coalesce(substring(problem_description FROM '^[^:;(]*\\((signal [0-9]+|exit [0-9]+)\\)'), ''),
        template = coalesce(substring(
            regexp_replace(problem_description, '; a (declared|port) .*$', '') FROM '^[^:]*: (.*)$'), ''),
        facts = coalesce(to_jsonb(string_to_array(
            substring(problem_description FROM '; (a (declared|port) .*)$'), '; ')), '[]'::jsonb)
    """,
    "ALTER TABLE knowledge_base FORCE ROW LEVEL SECURITY",
    "CREATE INDEX knowledge_base_alike_idx ON knowledge_base (tenant_id, kind, last_used) WHERE retired_at IS NULL",
)


def upgrade() -> None:
    """Add what is compared, where an entry comes from, and whether it is still used."""
    for statement in _UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Not offered: entries of people have no plan, and the older tables demand one."""
    raise NotImplementedError("restore a backup from before the upgrade to go back")
