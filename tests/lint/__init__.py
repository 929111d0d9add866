"""The SQL lint: squawk and rules of our own over every statement that the migration executes.

A tool of `make check`; it needs the extra `dev`. A rule is a value with a name, a reason and a way to
mend. A block is taken out of a rule by a line in its header, `-- lint: allow <rule> because <reason>`,
and a line of Python by a comment that says the same; one that nothing needs is a finding itself.
"""
