"""The checks of `check_store`, by subject: each function is one check, and its docstring the promise that it checks."""
