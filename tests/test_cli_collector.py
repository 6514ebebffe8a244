"""What a process that keeps many books spares the garbage collector."""

import gc

from pmlive.cli.record import books_left_alone


def test_many_books_are_left_alone_once_they_are_there_and_until_the_end() -> None:
    before = gc.get_freeze_count()
    frozen: list[int] = []
    with books_left_alone() as alone:
        for books in (0, 999, 1_000, 1_050, 1_100, 1_100):
            kept = [[each] for each in range(books)]
            alone.note(books)
            frozen.append(gc.get_freeze_count() - before)
            del kept
    assert frozen[:2] == [0, 0]
    assert frozen[2] > 1_000
    # A few more are not worth it.
    assert frozen[3] <= frozen[2] < frozen[4]
    assert frozen[5] <= frozen[4]
    assert gc.get_freeze_count() == 0
