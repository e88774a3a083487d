"""Runs what waits: one thread for each slot, and one that keeps the leases."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from robustcert.errors import RobustCertError
from robustcert.results.progress import Progress

from ..engines.interface import Engine
from ..problems import problem_of
from ..work import Watch
from .bell import Bell
from .orders import Orders
from .queue import LEASE_SECONDS, Lease, Queue

_log = logging.getLogger(__name__)

_IDLE_SECONDS = 1.0
_NOTE_SECONDS = 0.2
_STOP_SECONDS = 10.0


@dataclass(slots=True)
class _Run:
    """A lease and the reasons to end its run early."""

    lease: Lease
    cancelled: threading.Event = field(default_factory=threading.Event)
    lost: threading.Event = field(default_factory=threading.Event)
    noted: float = 0.0


class Dispatcher:
    """Takes evaluations from the queue, one for each slot, and runs them.

    Args:
        queue: hands out leases.
        engine: runs an order.
        orders: makes an order of a lease, and keeps the document.
        bell: is rung at every change.
        slots: evaluations at the same time.
    """

    def __init__(
        self, queue: Queue, engine: Engine, orders: Orders, bell: Bell, slots: int
    ) -> None:
        self._queue = queue
        self._engine = engine
        self._orders = orders
        self._bell = bell
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()
        self._work = threading.Condition()
        self._stopping = threading.Event()
        names = [f"slot-{number}" for number in range(slots)]
        self._threads = [
            threading.Thread(target=self._work_on, name=name, daemon=True)
            for name in names
        ]
        self._threads.append(
            threading.Thread(target=self._keep_leases, name="leases", daemon=True)
        )

    @property
    def alive(self) -> bool:
        """Whether every thread does its work."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Take back the leases of a service that died, then start to work."""
        taken = self._queue.reap(all_leases=True)
        if taken:
            _log.warning("queued again after a restart: %d evaluations", taken)
        self._orders.sweep(self._queue.waiting())
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something new waits."""
        with self._work:
            self._work.notify_all()

    def cancel(self, evaluation_id: str) -> None:
        """End the run of this evaluation, if it runs here."""
        with self._lock:
            run = self._runs.get(evaluation_id)
        if run is not None:
            run.cancelled.set()

    def stop(self) -> None:
        """Lease nothing more, kill the children, queue what they worked on again."""
        self._stopping.set()
        self.wake()
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work_on(self) -> None:
        while not self._stopping.is_set():
            try:
                lease = self._queue.lease()
                if lease is not None:
                    self._run(lease)
                    continue
            except Exception:  # the outermost frame of a slot: it outlives a fault
                _log.exception("a slot failed")
            with self._work:
                self._work.wait(_IDLE_SECONDS)

    def _run(self, lease: Lease) -> None:
        with self._registered(lease) as run:
            if self._queue.is_cancelled(lease):
                run.cancelled.set()  # cancelled between the lease and its entry here
            self._bell.ring(lease.evaluation_id)
            try:
                self._settle(run)
            except Exception:
                _log.exception("evaluation %s broke off", lease.evaluation_id)
                self._queue.break_off(lease)
        self._bell.ring(lease.evaluation_id)

    def _settle(self, run: _Run) -> None:
        """Run it and write down what came of it."""
        lease = run.lease
        watch = Watch(lambda heard: self._note(run, heard), lambda: self._over(run))
        try:
            order = self._orders.order(lease)
            document = self._engine.run(order, watch)
        except RobustCertError as error:
            if run.cancelled.is_set():
                self._orders.discard(lease)
                self._queue.cancelled(lease)
            elif self._over(run):
                self._queue.give_back(lease)
            else:
                self._orders.discard(lease)
                self._queue.fail(lease, problem_of(error))
        else:
            kept = self._orders.keep(document)
            self._orders.discard(lease)
            self._queue.finish(lease, kept)

    def _note(self, run: _Run, heard: Progress) -> None:
        now = time.monotonic()
        if now - run.noted < _NOTE_SECONDS:
            return  # a child that floods costs nothing
        run.noted = now
        self._queue.note(run.lease, heard)
        self._bell.ring(run.lease.evaluation_id)

    def _over(self, run: _Run) -> bool:
        reasons = (run.cancelled, run.lost, self._stopping)
        return any(reason.is_set() for reason in reasons)

    @contextmanager
    def _registered(self, lease: Lease) -> Iterator[_Run]:
        run = _Run(lease)
        with self._lock:
            self._runs[lease.evaluation_id] = run
        try:
            yield run
        finally:
            with self._lock:
                del self._runs[lease.evaluation_id]

    def _keep_leases(self) -> None:
        while not self._stopping.wait(LEASE_SECONDS / 5):
            try:
                self._renew()
                if self._queue.reap():
                    self.wake()
            except Exception:  # as above: leases outlive a full disk
                _log.exception("the leases could not be renewed")

    def _renew(self) -> None:
        with self._lock:
            runs = {run.lease: run for run in self._runs.values()}
        if runs:
            for lease in self._queue.renew(runs):
                runs[lease].lost.set()
