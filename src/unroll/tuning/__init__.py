"""Search for better settings of an experiment: `unroll tune`. The only package that imports Optuna."""
