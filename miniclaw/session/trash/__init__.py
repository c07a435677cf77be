"""The trash: its folder, the format of its entries, and reading, adding and deleting them. Synchronous."""
