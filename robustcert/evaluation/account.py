"""What one certifier has cost and yielded in a shard."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from robustcert.results.certificate import CertifierRun


@dataclass(slots=True, eq=False)
class Account:
    """What one certifier has cost and yielded so far.

    Attributes:
        failed: ``(N,)`` float64, the smallest radius of each sample at which it proved
            nothing: a larger ball holds that one, so it is not shown to it.
        timed: whether it stops when its time is up.
        samples: positions that it was shown.
        broken: positions that it broke.
        balls: how many it judged.
        proved: how many of them it proved.
        unverified: suspects that were thrown out.
        seconds: wall-clock time.
    """

    failed: Tensor
    timed: bool
    samples: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    balls: int = 0
    proved: int = 0
    unverified: int = 0
    seconds: float = 0.0

    def charge(self, rows: Tensor, seconds: float) -> None:
        """One ball around each of ``rows`` was judged."""
        self.samples.update(rows.tolist())
        self.balls += len(rows)
        self.seconds += seconds

    @property
    def expected(self) -> float:
        """Seconds that the next ball will take; 0 where it takes what it is given."""
        return 0.0 if self.timed or not self.balls else self.seconds / self.balls

    def as_run(self, name: str) -> CertifierRun:
        """The account as a line of the report."""
        return CertifierRun(
            name,
            len(self.samples),
            self.balls,
            self.proved,
            len(self.broken),
            self.unverified,
            self.seconds,
        )
