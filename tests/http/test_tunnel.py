"""Is it known where one frame ends and the next begins?"""

from hypothesis import given
from hypothesis import strategies as st

from swapcore_http.tunnel import Frames


def frame(size: int, *, masked: bool = False) -> bytes:
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x82, mask | size])
    elif size < 65536:
        head = bytes([0x82, mask | 126]) + size.to_bytes(2)
    else:
        head = bytes([0x82, mask | 127]) + size.to_bytes(8)
    return head + b"MASK" * masked + b"\x88" * size


sizes = st.sampled_from([0, 1, 2, 125, 126, 127, 300, 65535, 65536, 70000])


@given(st.lists(st.tuples(sizes, st.booleans()), max_size=4), st.data())
def test_frames_end_where_they_end(frames: list[tuple[int, bool]], data: st.DataObject) -> None:
    stream, ends = b"", {0}
    for size, masked in frames:
        stream += frame(size, masked=masked)
        ends.add(len(stream))
    near = [max(0, min(len(stream), end + step)) for end in ends for step in (-3, -1, 0, 1, 2, 5)]
    cuts = sorted({*data.draw(st.lists(st.sampled_from(near), max_size=8)), len(stream)})
    follower, done = Frames(), 0
    assert follower.between
    for cut in cuts:
        follower.feed(stream[done:cut])
        done = cut
        assert follower.between == (cut in ends), cut
