"""Speed and memory, each as a ratio within one run: `make bench`, or `python -m benchmarks NAME …`."""
