"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "blobs",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_blobs"),
    )
    op.create_table(
        "evaluations",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("model_id", sa.String(length=40), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("model_name", sa.String(length=120), nullable=False),
        sa.Column("samples_id", sa.String(length=80), nullable=False),
        sa.Column("samples_sha256", sa.String(length=64), nullable=True),
        sa.Column("samples_name", sa.String(length=120), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("stage", sa.String(length=64), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("problem", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("document_sha256", sa.String(length=64), nullable=True),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("started", sa.Float(), nullable=True),
        sa.Column("finished", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["document_sha256"],
            ["blobs.sha256"],
            name="fk_evaluations_document_sha256_blobs",
        ),
        sa.PrimaryKeyConstraint("sequence", name="pk_evaluations"),
        sa.UniqueConstraint("id", name="uq_evaluations_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_evaluations_model_sha256", "evaluations", ["model_sha256"], unique=False
    )
    op.create_index(
        "ix_evaluations_status_sequence",
        "evaluations",
        ["status", "sequence"],
        unique=False,
    )
    op.create_table(
        "models",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"], ["blobs.sha256"], name="fk_models_sha256_blobs"
        ),
        sa.PrimaryKeyConstraint("sequence", name="pk_models"),
        sa.UniqueConstraint("id", name="uq_models_id"),
        sa.UniqueConstraint("sha256", name="uq_models_sha256"),
    )
    op.create_table(
        "samples",
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("input_shape", sa.JSON(), nullable=False),
        sa.Column("classes", sa.Integer(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"], ["blobs.sha256"], name="fk_samples_sha256_blobs"
        ),
        sa.PrimaryKeyConstraint("sequence", name="pk_samples"),
        sa.UniqueConstraint("id", name="uq_samples_id"),
        sa.UniqueConstraint("sha256", name="uq_samples_sha256"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("evaluation_id", sa.String(length=40), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluations.id"],
            name="fk_idempotency_keys_evaluation_id_evaluations",
        ),
        sa.PrimaryKeyConstraint("key", name="pk_idempotency_keys"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("idempotency_keys")
    op.drop_table("samples")
    op.drop_table("models")
    op.drop_index("ix_evaluations_status_sequence", table_name="evaluations")
    op.drop_index("ix_evaluations_model_sha256", table_name="evaluations")
    op.drop_table("evaluations")
    op.drop_table("blobs")
