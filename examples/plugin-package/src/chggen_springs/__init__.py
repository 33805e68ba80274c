"""Balls on springs: an example of a plug-in package for chggen-kit."""
