"""The pilot before a table: how far operators move and what each look tells, for every way of starting."""
