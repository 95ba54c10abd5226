"""Checks of a config: one function per check, each returns findings."""
