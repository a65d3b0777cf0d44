"""PostgreSQL as a store: how rows that are due, held and blocked are said in SQL, counted, frozen and deleted."""
