"""Learning in rounds: sample, annotate, explore, learn, repeat; and games where no reward exists."""
