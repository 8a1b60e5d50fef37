"""Writes the README's table of methods: ``python -m tests.laws``."""

from tests.laws import README, TABLE, table

wanted = table()
README.write_text(TABLE.sub(lambda _: wanted + "\n", README.read_text(), count=1))
