"""The public calls of `miniclaw.session.sessions`: the checks of their arguments, and the calls over a directory."""
