"""Access to a sessions directory: its files, its subfolders, the scan and the ledger (stat cache) of scanned files."""
