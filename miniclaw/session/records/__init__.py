"""Records of what happened: history, results of runs, statistics, and the state that survives a restart."""
