"""Layers: tar to tree, tar to EROFS, whiteouts, diff, compression."""
