"""Images: store, pull, push, load, save, list, remove."""
