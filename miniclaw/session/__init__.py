"""The session runtime: sessions in memory, their files, and the two services that look after them.

Nothing here knows of HTTP, models or commands, so that it can be embedded alone; see `open_runtime` in
`miniclaw.session.runtime`.
"""
