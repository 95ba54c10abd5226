"""Repairs of faults in Axolotl and TRL. Each one ends with a version of theirs, and this folder should shrink."""
