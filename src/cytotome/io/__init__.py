"""Reading and writing of files, one module per format."""
