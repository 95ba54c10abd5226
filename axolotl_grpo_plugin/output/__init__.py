"""The output folder of a run: files that are whole or not there, whole checkpoints, and one run at a time.

files.py        writes files, names a full disk     checkpoints.py  tells whole checkpoints from cut ones
lock.py         keeps a second run out
"""
