from tests.cluster.kueue import Kueue
def test_up(kueue: Kueue) -> None:
    assert kueue.answers()
