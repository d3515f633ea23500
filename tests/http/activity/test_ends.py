"""Are the two ends of an answer kept, and no more than that?"""

from hypothesis import given
from hypothesis import strategies as st

from swapcore_http.activity.ends import HEAD, SLACK, TAIL, Ends

sizes = st.lists(
    st.one_of(st.integers(0, 50), st.integers(0, HEAD + TAIL + SLACK), st.just(HEAD), st.just(TAIL)),
    max_size=12,
)


@given(sizes, st.booleans())
def test_the_ends_do_not_depend_on_the_pieces(lengths: list[int], looked: bool) -> None:  # noqa: FBT001
    whole = bytes(number % 251 for number in range(sum(lengths)))
    ends, start = Ends(), 0
    for length in lengths:
        ends.feed(whole[start : start + length])
        start += length
        if looked:
            ends.cut()
        assert sum(map(len, ends._pieces)) <= HEAD + TAIL + SLACK
    head, tail = ends.cut()
    assert ends.length == len(whole)
    if tail is None:
        assert head == whole
    else:
        assert head == whole[:HEAD]
        assert tail == whole[max(HEAD, len(whole) - TAIL) :][-TAIL:]
    assert (tail is None) == (len(whole) <= HEAD + TAIL)
