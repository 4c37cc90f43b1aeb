"""Results that others have published, with their source and as much of their protocol as it says.

`results.csv` has the numbers and `names.csv` what bench calls what they are of: no code names a method.

Imports errors and what is below them.
"""
