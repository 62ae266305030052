"""The book: README.md, the executed notebooks and the index of equations as pages that are read offline (`make site`)."""
