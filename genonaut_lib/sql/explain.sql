-- name: analyzed
-- lint: allow unreadable because the statement it explains is put in whole, as gallery/statement.py made it
-- Executes the statement: only ever sent in a read-only transaction under a time limit.
explain (analyze, buffers, format json) {statement};
