"""Learning in rounds: sample, annotate, explore, learn, repeat; and games without a reward."""
