import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from annotriage.guarantee.routing import route, squashed, trust


def test_routes_follow_outlier_then_sureness():
    got = route(np.array([False, False, True, True]), np.array([1.5, 1.0, 2.0, np.nan]), 1.5)
    assert got.tolist() == ["auto", "uncertain", "outlier", "failed"]
    assert route(np.zeros(2, bool), np.array([2.0, 2.0]), np.array([np.inf, 2.0])).tolist() == ["uncertain", "auto"]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0.5, 2), st.floats(-1e9, 1e9), st.booleans()), min_size=2, max_size=30),
    st.sampled_from([0.5, 1.2, 2.0, np.inf]),
)
def test_trust_keeps_routes_apart_and_order_within_them(rows, tau):
    how_sure, scores, outlier = (np.array(column) for column in zip(*rows, strict=True))
    routes = route(outlier, how_sure, tau)
    values = trust(routes, how_sure, scores, tau)
    for name, low in (("outlier", 0), ("uncertain", 1 / 3), ("auto", 2 / 3)):
        mine = routes == name
        assert np.all((values[mine] >= low + 1e-4 - 1e-12) & (values[mine] <= low + 1 / 3 - 1e-4 + 1e-12))
        key = -scores[mine] if name == "outlier" else how_sure[mine]
        assert np.all(np.diff(values[mine][np.argsort(key)]) >= 0)


def test_far_strangers_do_not_tie_and_failed_items_come_first():
    scores = np.array([1.0, 1.0000001, 50.0, 1e8, 1e8 + 1, 1e300, 1.001e300, np.nan])
    routes = np.array(["outlier"] * 7 + ["failed"])
    values = trust(routes, np.r_[np.ones(7), np.nan], scores, 1.0)
    assert np.all(np.diff(values) < 0)
    assert values[-1] == 0
    assert squashed(np.array([-np.inf, 0.0, np.inf])).tolist() == [0.0, 0.5, 1.0]
