"""Read mathematical answers and compare their values, for `rewards/math.py`."""
