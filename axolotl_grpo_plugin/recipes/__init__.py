"""Convert recipes of TRL, open-r1 and X-R1, and Axolotl's example, into configs with this plugin."""
