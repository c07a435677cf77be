"""The notice rule, tried on machines whose clocks are wrong."""
