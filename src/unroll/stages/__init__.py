"""One file a DVC stage: read files, call pure functions, write files."""
