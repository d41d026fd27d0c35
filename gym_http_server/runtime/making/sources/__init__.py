"""Where environments come from, and in which form: old interfaces, factories, imported modules, libraries by name."""
