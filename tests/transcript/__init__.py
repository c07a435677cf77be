"""A day in an administrator's life, made by running the program: `docs/administrators-day.md` and its picture."""
