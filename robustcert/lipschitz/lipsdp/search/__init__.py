"""The search for multipliers: Newton steps on a barrier, or quasi-Newton steps."""
