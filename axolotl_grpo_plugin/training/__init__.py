"""Callbacks of a training, and the reports that it leaves."""
