"""Access to the server: login, token, one-time codes, host and origin checks, rate limits."""
