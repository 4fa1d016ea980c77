"""What a node says of allowances is what the manager reads, and the other way round."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from heliostat.edge.allowances.form import Allowance, read_allowances
from heliostat.manager.budgets.form import AllowanceAnswer
from heliostat.manager.reports.form import Condition
from tests.edge.allowances.test_accounts import ALLOWANCES, fresh

ANSWERS = st.builds(
    AllowanceAnswer,
    mirror=st.text(min_size=1, max_size=255),
    epoch=st.integers(1, (1 << 53) - 1),
    purse=st.text("0123456789abcdef", min_size=1, max_size=64),
    general=st.integers(0, 1 << 62),
    reserve=st.integers(0, 1 << 62),
    ends_s=st.none() | st.floats(0, 1e11),
)


@given(st.lists(ALLOWANCES, max_size=10))
def test_the_manager_reads_what_a_node_tells(given: list[Allowance]) -> None:
    accounts = fresh()
    for allowance in given:
        accounts.accept(allowance)
    said = {"node": "fra", "purse": accounts.purse, "spent": accounts.told()}
    read = Condition.model_validate_json(json.dumps(said))
    assert read.purse == accounts.purse
    assert [one.model_dump() for one in read.spent] == accounts.told()


@given(st.lists(ANSWERS, max_size=10))
def test_a_node_reads_what_the_manager_answers(given: list[AllowanceAnswer]) -> None:
    text = json.dumps({"drain": None, "allowances": [one.model_dump() for one in given]})
    assert [one.model_dump() for one in read_allowances(text)] == [
        one.model_dump() for one in given
    ]
