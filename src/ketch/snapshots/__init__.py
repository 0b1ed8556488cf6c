"""Snapshotters: layers and writable snapshots, as Rootfs values."""
