"""Show the rollouts of runs as one HTML file, or from a local server."""
