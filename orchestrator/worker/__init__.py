"""The worker: claims operations, carries them out under a lease, and sweeps up after others."""
