"""One file per DVC stage: read files, call pure functions, write files."""
