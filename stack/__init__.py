"""The servers of a team on one machine, as local processes on loopback: `make stack`, `make stack-stop`.

PostgreSQL, an S3-compatible store, MLflow, Prefect and a worker, all from packages and without a container engine. What
they are and where they keep their state: docs/stack.md.
"""
