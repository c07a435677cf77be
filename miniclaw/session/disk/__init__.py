"""Disk access for all files: system calls behind one seam, atomic writes, synced directories, spelling of names."""
