"""How a group of strange items stands, in words."""

from annotriage.advice.group_words import members_sentence


def test_the_parts_of_a_group_add_up_to_its_size():
    assert members_sentence(32, 16, {("0",): 9, ("1", "2"): 2}, 2) == (
        "16 wait for a person; 11 answered by people (9 as 0, 2 as 1 + 2); 2 set aside;"
        " 3 others: open spot checks, deleted tasks, or no longer strange"
    )
    assert members_sentence(3, 0, {}, 2) == "2 set aside; 1 other: open spot checks, deleted tasks, or no longer strange"
    assert members_sentence(2, 1, {(): 1}) == "1 waits for a person; 1 answered by people (1 as none of the classes)"
    assert members_sentence(5, 5, {}) == "5 wait for a person"
