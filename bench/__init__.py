"""Benchmarks, which measure what Hostwright adds to its bare parts. Both are measured in turn, and given as ratios."""
