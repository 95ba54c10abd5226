"""Read answers as expressions or as data, and compare their values, for several rewards."""
