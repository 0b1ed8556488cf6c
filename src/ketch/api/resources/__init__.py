"""One file per kind of object: what its routes do."""
