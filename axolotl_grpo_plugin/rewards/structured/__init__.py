"""Read the JSON that a completion states, for rewards of structured answers."""
