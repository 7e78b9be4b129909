"""One-line mutations of a Python source: what `tests/mutants.py` changes, one at a time.

Signs, operators, comparisons, min and max, numbers, True and False, `.detach()`, and names that are
easily confused. Left alone: docstrings and other text, annotations, decorators, imports, `raise`.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS = {
    ast.Add: ("+", ["-"]),
    ast.Sub: ("-", ["+"]),
    ast.Mult: ("*", ["/"]),
    ast.Div: ("/", ["*"]),
    ast.Pow: ("**", ["*"]),
    ast.BitAnd: ("&", ["|"]),
    ast.BitOr: ("|", ["&"]),
    ast.And: ("and", ["or"]),
    ast.Or: ("or", ["and"]),
    ast.Lt: ("<", ["<=", ">"]),
    ast.LtE: ("<=", ["<", ">="]),
    ast.Gt: (">", [">=", "<"]),
    ast.GtE: (">=", [">", "<="]),
    ast.Eq: ("==", ["!="]),
    ast.NotEq: ("!=", ["=="]),
    ast.Is: ("is", ["is not"]),
    ast.IsNot: ("is not", ["is"]),
    ast.In: ("in", ["not in"]),
    ast.NotIn: ("not in", ["in"]),
}
SIGNS = {ast.USub: "-", ast.Invert: "~", ast.Not: "not"}
EXTREMES = [("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("clamp_min", "clamp_max")]
EXTREMES += [("argmin", "argmax"), ("cummin", "cummax")]
CONFUSED = [
    ("chosen", "rejected"),
    ("score_chosen", "score_rejected"),
    ("policy", "reference"),
    ("log_prob", "reference_log_prob"),
]
CALLS = {a: b for pair in EXTREMES for a, b in (pair, pair[::-1])}
NAMES = {a: b for pair in CONFUSED for a, b in (pair, pair[::-1])}
SKIPPED = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)
# values whose sign cannot be turned
UNSIGNED = (ast.Tuple, ast.List, ast.Dict, ast.Set, ast.JoinedStr, ast.Compare, ast.BoolOp)
UNSIGNED += (ast.Lambda, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp, ast.UnaryOp)

Code = tuple[int, str]


@dataclass(frozen=True)
class Mutation:
    """Attributes:
    start, end, text: bytes [start, end) of the source become `text`.
    line: where it starts, from 1.
    before, after: that line, stripped.
    code: (first line, name) of the innermost function it lies in; None where import runs it.
    """

    start: int
    end: int
    text: str
    line: int
    before: str
    after: str
    code: Code | None

    def apply(self, source: str) -> str:
        """The mutated source."""
        raw = source.encode()
        return (raw[: self.start] + self.text.encode() + raw[self.end :]).decode()


class _Source:
    """A source with byte offsets of its nodes and of the tokens between them."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines(keepends=True)
        self.raw, self.starts, self.tokens = text.encode(), [0], []
        for line in lines:
            self.starts.append(self.starts[-1] + len(line.encode()))
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.OP, tokenize.NAME):
                row, column = token.start
                within = len(lines[row - 1][:column].encode())
                self.tokens.append((self.starts[row - 1] + within, token.string))

    def span(self, node: ast.expr | ast.keyword) -> tuple[int, int]:
        return (
            self.starts[node.lineno - 1] + node.col_offset,
            self.starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0),
        )

    def between(self, left: ast.expr, right: ast.expr, operator: str) -> tuple[int, int]:
        """The span of an operator between two nodes, brackets and comments aside."""
        low, high = self.span(left)[1], self.span(right)[0]
        first, *rest = operator.split()
        at = next(o for o, s in self.tokens if low <= o < high and s == first)
        last = next(o for o, s in self.tokens if at <= o < high and s == rest[-1]) if rest else at
        return at, last + len((rest or [first])[-1])


Edit = tuple[int, int, str]


def _number(value: int | float) -> str:
    """0 → 1, 0.5 → 1, 1 → 2, 2 → 3; any other fraction is doubled."""
    if isinstance(value, float) and value not in (0.0, 0.5):
        return repr(value + 1) if value.is_integer() else repr(2 * value)
    return repr(value + 1 if isinstance(value, int) else 1.0)


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return constant or isinstance(node, ast.JoinedStr)


def _negated(source: _Source, value: ast.expr | None) -> Iterator[Edit]:
    if value is None or isinstance(value, (ast.Constant, *UNSIGNED)) or _is_text(value):
        return
    called = value.func if isinstance(value, ast.Call) else None
    if isinstance(called, ast.Name) and called.id[:1].isupper():
        return
    start, end = source.span(value)
    if source.raw[start : start + 1] != b"-":  # to remove that sign is the same
        yield start, end, f"-({source.raw[start:end].decode()})"


def _edits(source: _Source, node: ast.AST) -> Iterator[Edit]:
    """The mutations of one node, those of its children aside."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        flipped = isinstance(node.value, bool)
        yield *source.span(node), repr(not node.value) if flipped else _number(node.value)
    elif isinstance(node, ast.UnaryOp) and type(node.op) in SIGNS:
        start = source.span(node)[0]
        end = start + len(SIGNS[type(node.op)])
        yield start, end + (source.raw[end : end + 1] == b" "), ""
    elif isinstance(node, ast.AugAssign) and type(node.op) in OPERATORS:
        found, others = OPERATORS[type(node.op)]
        start, end = source.between(node.target, node.value, f"{found}=")
        yield from ((start, end, f"{other}=") for other in others)
    elif isinstance(node, ast.BinOp | ast.Compare | ast.BoolOp):
        if isinstance(node, ast.BinOp):
            operands, operators = [node.left, node.right], [node.op]
        elif isinstance(node, ast.Compare):
            operands, operators = [node.left, *node.comparators], node.ops
        else:
            operands, operators = node.values, [node.op] * (len(node.values) - 1)
        for left, right, operator in zip(operands, operands[1:], operators, strict=False):
            if type(operator) in OPERATORS and not _is_text(node):
                found, others = OPERATORS[type(operator)]
                for other in others:
                    yield *source.between(left, right, found), other
    elif isinstance(node, ast.Call):
        yield from _call_edits(source, node)
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        end = source.span(node)[1]
        yield end - len(node.attr), end, NAMES[node.attr]
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in NAMES:
        yield *source.span(node), NAMES[node.id]
    elif isinstance(node, ast.Return):
        yield from _negated(source, node.value)
    elif isinstance(node, ast.Lambda):
        yield from _negated(source, node.body)


def _call_edits(source: _Source, node: ast.Call) -> Iterator[Edit]:
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    end = source.span(node.func)[1]
    if name in CALLS:
        yield end - len(name), end, CALLS[name]
    if name == "detach":
        yield source.raw.rindex(b".", 0, end), source.span(node)[1], ""
    keywords = {keyword.arg for keyword in node.keywords}
    for keyword in node.keywords:
        if keyword.arg in CALLS and CALLS[keyword.arg] not in keywords:
            start = source.span(keyword)[0]
            yield start, start + len(keyword.arg), CALLS[keyword.arg]


def _is_alias(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.dump(node.annotation)


def _walk(node: ast.AST, code: Code | None) -> Iterator[tuple[ast.AST, Code | None]]:
    """Every node that may be mutated, with the function it lies in."""
    if isinstance(node, SKIPPED) or _is_alias(node):
        return
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        code = (min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.name)
    elif isinstance(node, ast.Lambda):
        code = (node.lineno, "<lambda>")
    yield node, code
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        if name == "msg" and isinstance(node, ast.Assert):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, code)


def mutations(text: str) -> list[Mutation]:
    """Every mutation of a source that still compiles, in the order of its lines."""
    source, found, nodes = _Source(text), [], list(_walk(ast.parse(text), None))
    known: dict[Code | None, set[str | None]] = {}
    unsigned = set()
    for node, code in nodes:
        if isinstance(node, ast.FunctionDef) and node.returns:
            unsigned |= {code} if ast.unparse(node.returns) in ("bool", "str") else set()
        name = getattr(node, "arg" if isinstance(node, ast.arg) else "id", None)
        known.setdefault(code, set()).add(name)
    for node, code in nodes:
        if isinstance(node, ast.Return) and code in unsigned:
            continue
        for start, end, new in _edits(source, node):
            line = source.raw.count(b"\n", 0, start) + 1
            mutation = Mutation(start, end, new, line, "", "", code)
            mutated = mutation.apply(text)
            try:
                compile(mutated, "mutated", "exec", dont_inherit=True)
            except SyntaxError:
                continue
            if isinstance(node, ast.Name) and new in NAMES and new not in known[code]:
                continue  # a name that is not there: an error on the spot
            lines = text.splitlines()[line - 1].strip(), mutated.splitlines()[line - 1].strip()
            found.append(Mutation(start, end, new, line, *lines, code))
    return sorted(found, key=lambda m: (m.start, m.end, m.text))
