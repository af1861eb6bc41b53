"""The report on all experiments: one HTML page that needs no other file."""
