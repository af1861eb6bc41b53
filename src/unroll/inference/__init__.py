"""Batch prediction with onnxruntime. Nothing here imports torch, mlflow, prefect or dvc."""
