"""The learned model: a probabilistic ensemble, its training, its uncertainty, rollouts in it and where they end."""
