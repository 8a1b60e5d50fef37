"""Writes the guides' table of methods: ``python -m tests.laws``."""

from tests.laws import PAGE, TABLE, table

wanted = table()
PAGE.write_text(TABLE.sub(lambda _: wanted + "\n", PAGE.read_text(), count=1))
