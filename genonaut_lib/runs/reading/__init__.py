"""Reading records: what an executed notebook says, pages for people, one run beside another."""
