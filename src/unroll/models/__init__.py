"""Torch modules only: constructors take plain keyword arguments and know nothing of files, parameters or trackers."""
