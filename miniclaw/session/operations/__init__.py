"""The operations of an administrator on sessions and on files in quarantine; each leaves a receipt."""
