"""Compare models by their scored answers: intervals, differences, tables and pictures."""
