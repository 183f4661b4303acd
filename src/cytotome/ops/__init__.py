"""Pure array functions and compiled kernels."""
