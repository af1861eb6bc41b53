"""Which trained models may be used: gates, aliases of the registry, and the way from a prediction back to its data."""
