"""Pass, fail or inconclusive: decide(report, policy) is pure."""
