"""Hand-made reports, and the documents they must give byte for byte."""
