"""Side-by-side comparison of the models of a night, as a table and as one HTML file."""
