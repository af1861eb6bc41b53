"""The scoring job: score each new file of an inbox exactly once. Nothing here imports torch, prefect or dvc."""
