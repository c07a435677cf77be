"""Everything that opens a sessions directory: its files, its subfolders, the scan and the ledger of scanned files."""
