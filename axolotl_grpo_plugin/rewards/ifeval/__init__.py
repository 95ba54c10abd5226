"""The verifiable instructions of IFEval."""
