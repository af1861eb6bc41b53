"""The scoring job: what is new in an inbox, exactly once. Nothing here imports torch, mlflow, prefect or dvc."""
