"""The worker, which claims operations, carries them out under a lease, and sweeps."""
