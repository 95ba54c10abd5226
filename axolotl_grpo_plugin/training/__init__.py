"""Callbacks of a training run, and its reports."""
