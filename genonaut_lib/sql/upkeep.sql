-- name: vacuum
-- lock: SHARE UPDATE EXCLUSIVE
-- Old row versions go, statistics are fresh, and index-only scans need not visit the heap.
vacuum (analyze) {table};

-- name: analyze
-- lock: SHARE UPDATE EXCLUSIVE
-- Without statistics on a new column or table the planner guesses, and guesses wrong.
analyze {table};

-- name: drop_index
-- lock: SHARE UPDATE EXCLUSIVE
-- Also the invalid index that a killed CREATE INDEX CONCURRENTLY left.
drop index concurrently if exists {index};
