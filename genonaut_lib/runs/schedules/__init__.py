"""Sequences at their times: the clock, who claims a time, the processes that do the work, and other clocks' formats."""
