"""What makes an outlier strange, in words."""

import pytest

from annotriage.advice.strangeness_words import strangeness_sentence, surprise_words

UNLIKE = "looks unlike the training items, as another source or a new shape does"


@pytest.mark.parametrize(
    ("of_class", "of_source", "depth", "said"),
    [
        (9.0, 0.5, 0.0, "It is like no class."),
        (9.0, None, 0.0, "It is like no class."),
        (
            0.5,
            9.0,
            0.0,
            f"It {UNLIKE}: most in an early layer, which mostly sees noise, sharpness or colour.",
        ),
        (
            0.5,
            9.0,
            0.5,
            f"It {UNLIKE}: most in a middle layer, which mostly sees texture or parts.",
        ),
        (
            9.0,
            9.0,
            1.0,
            f"It is like no class, and {UNLIKE}: most in a late layer, which mostly sees shape or arrangement.",
        ),
        (2.5, 2.5, 0.0, "Both what it is and how it looks are a little unusual."),
        (None, None, 0.0, ""),
    ],
)
def test_the_axis_that_makes_an_item_strange_is_named(of_class, of_source, depth, said):
    assert strangeness_sentence(of_class, of_source, depth, pictures=True) == said


def test_of_numbers_the_layer_is_named_without_what_pictures_show():
    said = strangeness_sentence(0.0, 9.0, 0.0, pictures=False)
    assert said == f"It {UNLIKE}: most in an early layer."


@pytest.mark.parametrize(("score", "said"), [(0.0, "0%"), (3.0, "95%"), (5.0, "99.3%"), (700.0, "all")])
def test_a_score_on_an_axis_is_said_as_the_share_that_is_less_strange(score, said):
    assert surprise_words(score) == said
