"""Records of past events: history, results of runs, statistics, and the state that survives a restart."""
