"""Which trained models may be used: gates, the registry's aliases, and the way back from a prediction to its data."""
