"""Try rewards outside a training: score completions, attack a reward, score sample rows."""
