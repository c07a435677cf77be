"""What can be seen of a workspace, as the commands and the API show it. Synchronous; opens what it needs, owns nothing.

Everything here works beside a running gateway and changes nothing. In a running program it is called in threads.
"""
