"""Training on Modal: `axolotl train CONFIG --cloud cloud.yaml`."""
