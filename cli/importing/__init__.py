"""Files of profiles and events, read row by row and sent through the API: `camino import`.

A file is read as records (`csv_records`, `ndjson_records`), each record becomes an item by a mapping (`event_rows`,
`profile_rows`, `proto_json`), and what became of the items is booked in the order of the file (`pending`, `ledger`), so
that one position says what is done.
"""
