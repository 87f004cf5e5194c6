"""Benchmarks: what Hostwright adds to the bare parts, as ratios measured side by side in one go."""
