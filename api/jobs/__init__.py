"""Evaluations between request and report: states, leases, the dispatcher."""
