"""The SQL lint: each rule names what it forbids and passes what it allows; the repository itself is clean."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genonaut_lib.db.statements import Block, Waiver, blocks, statements_of
from genonaut_lib.migration.lint import squawk
from genonaut_lib.migration.lint.findings import Finding, Place
from genonaut_lib.migration.lint.report import findings, judge, lint
from genonaut_lib.migration.lint.rules import RULES
from genonaut_lib.migration.lint.scripts import Script, script_of, scripts
from genonaut_lib.migration.lint.sources import SOURCE_RULES, Module, modules
from genonaut_lib.migration.plan import action
