"""Show the rollouts of runs: as one HTML file, from a local server, or in a terminal."""
