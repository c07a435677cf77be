"""The parts of the running gateway as a process: its front end, signals, reload, logging and notifications."""
