"""Compare models by their scored answers: intervals, differences and tables."""
