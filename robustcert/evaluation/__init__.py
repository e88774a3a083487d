"""The use case: plan, shards, report."""
