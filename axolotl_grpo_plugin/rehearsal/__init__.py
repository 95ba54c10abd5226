"""Two steps of a config on this machine, with a tiny model of the same architecture."""
