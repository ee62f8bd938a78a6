"""The products compared: one file each, with the setting that is fair to it."""
