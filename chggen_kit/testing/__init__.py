"""The public conformance kit: what a plug-in runs against itself."""
