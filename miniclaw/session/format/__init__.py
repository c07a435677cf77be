"""The bytes of a session file: encoding, decoding, and the reading of files that other programs wrote."""
