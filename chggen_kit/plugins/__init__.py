"""The plug-in manager: hooks, discovery, and creation by name."""
