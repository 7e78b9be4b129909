LIMIT = 400


def test_no_file_has_more_than_400_lines(sources, root):
    counts = {p.relative_to(root).as_posix(): len(p.read_text().splitlines()) for p in sources}
    assert {name: lines for name, lines in counts.items() if lines > LIMIT} == {}
