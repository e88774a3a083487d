"""The tables; times are seconds since 1970, UTC."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Enum,
    Float,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from robustcert.client.wire import Status

_STATUS = Enum(
    Status,
    native_enum=False,
    length=12,
    values_callable=lambda statuses: [status.value for status in statuses],
)


class Table(DeclarativeBase):
    """Base of the tables; constraints have names, so that migrations can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class BlobRow(Table):
    """Bytes that were accepted; they lie in the blob store under their hash."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[float] = mapped_column(Float)


class ModelRow(Table):
    """A model that passed the static scan."""

    __tablename__ = "models"

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    size: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[float] = mapped_column(Float)


class SamplesRow(Table):
    """An uploaded sample set that was checked."""

    __tablename__ = "samples"

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    size: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int]
    input_shape: Mapped[list[int]] = mapped_column(JSON)
    classes: Mapped[int]
    created: Mapped[float] = mapped_column(Float)


class EvaluationRow(Table):
    """One evaluation: what was asked, where it stands, what came out.

    Model and samples are named by value, so that the row outlives them.
    """

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("ix_evaluations_status_sequence", "status", "sequence"),
        Index("ix_evaluations_model_sha256", "model_sha256"),
        {"sqlite_autoincrement": True},
    )

    sequence: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(String(40), unique=True)
    request: Mapped[dict[str, Any]] = mapped_column(JSON)
    model_id: Mapped[str] = mapped_column(String(40))
    model_sha256: Mapped[str] = mapped_column(String(64))
    model_name: Mapped[str] = mapped_column(String(120))
    samples_id: Mapped[str] = mapped_column(String(80))
    samples_sha256: Mapped[str | None] = mapped_column(String(64))
    samples_name: Mapped[str] = mapped_column(String(120))
    status: Mapped[Status] = mapped_column(_STATUS)
    stage: Mapped[str] = mapped_column(String(64), default="")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    note: Mapped[str] = mapped_column(String(200), default="")
    attempt: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float | None] = mapped_column(Float)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    problem: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    document_sha256: Mapped[str | None] = mapped_column(ForeignKey("blobs.sha256"))
    created: Mapped[float] = mapped_column(Float)
    started: Mapped[float | None] = mapped_column(Float)
    finished: Mapped[float | None] = mapped_column(Float)


class IdempotencyRow(Table):
    """The evaluation that an idempotency key made, and the hash of its body."""

    __tablename__ = "idempotency_keys"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"))
    created: Mapped[float] = mapped_column(Float)
