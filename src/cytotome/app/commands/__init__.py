"""The commands, one module each. They import nothing heavy before they run."""
