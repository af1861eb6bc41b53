"""One file a dataset: raw bytes to a typed table. Its expectations stand beside it."""
