"""The session runtime: sessions in memory, their files, and the two services that look after them.

The runtime knows nothing of HTTP, models, channels or commands, and can be embedded alone: see `open_runtime` in
`miniclaw.session.runtime`.

Glossary:

adopted: a session file under a name of an earlier version, renamed to the name that its id has now.
announced: named by a run as due, so that a later run may delete it.
audit log: the history, one line of JSON for each event (`miniclaw.session.records.history`).
conflict copy: a copy of a session file that a sync program made under another name; never a session.
dirty: changed in memory since the last save.
due: expired, or to expire within the lead of the notice rule.
entry: a file of the trash, with a line about its session.
expired: unused for longer than its TTL, exclusive, by the ages of the notice rule.
flush: the save of all dirty sessions, last of all when the runtime closes.
held: said of a plan that would remove more than the guard allows; it removes nothing until it is confirmed.
ledger: the stat cache of the scan, a reason not to read a file and never a reason to remove it.
leftover: a file of ours that is no session in its place: trash, quarantined, temporary, unfinished, legacy.
notice period: the witnessed time between announcement and deletion.
owner: the one process that may change a sessions directory; it holds the locks.
pinned: exempt from every rule.
quarantine: the folder of files that stood in a session's place and could not be used as one.
session: one conversation, of one chat of one channel; one file.
staged: renamed into the work folder in the middle of a removal.
stranded: staged by a process that died; the next owner puts the file back or completes the removal.
trash: the folder of removed sessions, kept for `trash_for`.
trio thread: the thread of the event loop; it alone changes state in memory.
worker thread: a thread that does blocking work on files; it asks the trio thread for consent.
"""
