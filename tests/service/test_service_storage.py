"""Rows, leases and files, without a server around them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from api.errors import StorageFullError, UnknownBlobError
from api.jobs.queue import MOST_ATTEMPTS, Queue
from api.jobs.register import Register
from api.storage.blobs import BlobStore, IncomingBlob
from api.storage.database import Database, migration_config
from api.storage.tables import BlobRow, ModelRow, Table
from robustcert.client.requests import evaluation_request
from robustcert.client.wire import Problem, Status
from robustcert.results.progress import Progress

MODEL = "m-1"
PROBLEM = Problem(title="T", status=500, detail="d")


@pytest.fixture
def database(tmp_path):
    one = Database(f"sqlite:///{tmp_path / 'rows.sqlite3'}")
    one.migrate()
    with one.write() as session:
        session.add(BlobRow(sha256="0" * 64, size=1, created=0.0))
        session.flush()
        session.add(ModelRow(id=MODEL, sha256="0" * 64, name="m", size=1, created=0.0))
    yield one
    one.close()


@pytest.fixture
def register(database):
    return Register(database, 1000)


@pytest.fixture
def queue(database):
    return Queue(database)


def add(register: Register, **options) -> str:
    request = evaluation_request(MODEL, "fashion-mnist-500", "l2", [0.1], **options)
    return register.submit(request, None).id


def test_the_newest_migration_is_what_the_tables_say(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Table.metadata) == []


def test_migrations_can_be_undone_and_run_twice(database):
    database.migrate()
    with database.engine.begin() as connection:
        command.downgrade(migration_config(connection), "base")
    with database.engine.connect() as connection:
        left = connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
    assert left == [("alembic_version",)]
    database.migrate()


def test_what_was_accepted_is_synced_to_the_disk(database):
    with database.engine.connect() as connection:
        values = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


def test_what_has_waited_longest_is_leased_first(register, queue):
    ids = [add(register) for _ in range(3)]
    assert [queue.lease().evaluation_id for _ in ids] == ids
    assert queue.lease() is None


def test_many_threads_never_lease_the_same_evaluation(register, queue):
    ids = {add(register) for _ in range(40)}
    leased, failures = [], []

    def take():
        try:
            while (lease := queue.lease()) is not None:
                leased.append(lease.evaluation_id)
                queue.note(lease, Progress("stage", 1, 2))
                queue.fail(lease, PROBLEM)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(leased) == sorted(ids)
    assert {register.get(one).attempt for one in ids} == {1}


def test_a_run_that_lost_its_lease_changes_nothing(register, queue):
    evaluation = add(register)
    stale = queue.lease()
    queue.reap(all_leases=True)
    fresh = queue.lease()
    assert (fresh.evaluation_id, fresh.fence) == (evaluation, stale.fence + 1)
    queue.note(stale, Progress("stale", 9, 9))
    queue.fail(stale, PROBLEM)
    queue.cancelled(stale)
    queue.give_back(stale)
    queue.break_off(stale)
    assert queue.renew([stale, fresh]) == [stale]
    view = register.get(evaluation)
    assert (view.status, view.progress.stage) == (Status.RUNNING, "")
    queue.fail(fresh, PROBLEM)
    assert register.get(evaluation).status is Status.FAILED


def test_a_lease_in_time_is_kept_and_one_that_ran_out_is_taken_back(
    register, queue, monkeypatch
):
    evaluation = add(register)
    lease = queue.lease()
    assert queue.reap() == 0
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1000.0)
    assert queue.renew([lease]) == []
    assert queue.reap() == 0
    monkeypatch.setattr(time, "time", lambda: now + 2000.0)
    assert queue.reap() == 1
    assert register.get(evaluation).status is Status.QUEUED


def test_a_service_that_keeps_failing_gives_up_after_three_attempts(register, queue):
    evaluation = add(register)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert register.get(evaluation).status is Status.QUEUED
        queue.lease()
        assert register.get(evaluation).attempt == attempt
        queue.reap(all_leases=True)
    view = register.get(evaluation)
    assert (view.status, view.problem.kind) == (Status.FAILED, "service-fault-error")
    assert view.finished is not None


def test_an_orderly_stop_does_not_use_up_an_attempt(register, queue):
    evaluation = add(register)
    for _ in range(2 * MOST_ATTEMPTS):
        queue.give_back(queue.lease())
    view = register.get(evaluation)
    assert (view.status, view.attempt) == (Status.QUEUED, 0)


def test_what_was_cancelled_does_not_run_again_after_a_crash(register, queue):
    evaluation = add(register)
    lease = queue.lease()
    assert register.cancel(evaluation).status is Status.RUNNING
    assert queue.is_cancelled(lease)
    queue.reap(all_leases=True)
    assert register.get(evaluation).status is Status.CANCELLED


def test_progress_from_a_child_is_cut_and_made_printable(register, queue):
    evaluation = add(register)
    lease = queue.lease()
    queue.note(lease, Progress("a\x1b[31m\n" * 100, 1, 2, "\u202e" * 10_000))
    progress = register.get(evaluation).progress
    assert len(progress.stage) <= 64
    assert len(progress.note) <= 200
    assert progress.stage.isprintable()
    assert progress.note.isprintable()


def test_a_full_disk_is_an_error_with_a_remedy():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(StorageFullError, match="No space"):
            IncomingBlob(Path("/dev/full"), descriptor, 100).write(b"bytes")
    finally:
        os.close(descriptor)


def test_bytes_in_use_survive_the_deletion_of_something_else(database, tmp_path):
    blobs = BlobStore(tmp_path, database)
    name = blobs.keep_bytes(b"report")
    with database.write() as session:
        session.add(ModelRow(id="m-2", sha256=name, name="m", size=6, created=0.0))
    blobs.drop_unused(name)
    assert blobs.read(name) == b"report"
    with database.write() as session:
        session.delete(session.get(ModelRow, 2))
    blobs.drop_unused(name)
    with pytest.raises(UnknownBlobError):
        blobs.read(name)
    assert not blobs.path(name).exists()


def test_what_an_interrupted_upload_left_is_swept_at_the_start(database, tmp_path):
    blobs = BlobStore(tmp_path, database)
    (tmp_path / "incoming" / "tmp-left").write_bytes(b"half")
    assert blobs.sweep() == 1
    assert list((tmp_path / "incoming").iterdir()) == []
