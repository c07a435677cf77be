"""The programs in examples/, each run as a program of its own."""
