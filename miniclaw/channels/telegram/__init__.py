"""The Telegram channel: long polling of the Bot API."""
