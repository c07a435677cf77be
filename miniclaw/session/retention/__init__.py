"""The rules of retention: which sessions are kept, and when the others are removed. Pure: no files, no clock."""
