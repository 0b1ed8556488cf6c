"""What a client offers while its builds run: files, outputs, stores, credentials."""
