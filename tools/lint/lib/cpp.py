"""Declarations of a C++ file: no compiler, but enough of a parser for this project's own style.

It knows namespaces, classes with their access, functions with and without a body, and which comment stands before each.
"""

import re
from dataclasses import dataclass, field

OPEN = {"(": ")", "[": "]", "{": "}"}


@dataclass
class Function:
    name: str
    scope: tuple  # names of the namespaces and classes around it; '' for an unnamed namespace
    parameters: str
    start: int  # line of its first token
    end: int  # line of its last token
    public: bool
    noexcept: bool
    defaulted: bool  # = default, = delete
    constructor: bool
    special: bool  # default, copy and move constructors, copy and move assignment
    qualified: bool  # the definition of something declared elsewhere: name::name
    specialised: bool  # inside an explicit or partial specialisation
    has_body: bool
    comment: list = field(default_factory=list)  # lines of the comment that documents it
    group: int = 0  # functions with the same number share a comment


@dataclass
class _Scope:
    kind: str  # 'namespace' or 'class'
    name: str
    public: bool
    specialised: bool = False


def functions(source):
    """All functions of a file, in order, with their comments."""
    return _Parser(source).run()


def close(code, start):
    """The offset after the bracket that closes the one at start."""
    depth = 0
    for at in range(start, len(code)):
        if code[at] in "([{":
            depth += 1
        elif code[at] in ")]}":
            depth -= 1
            if depth == 0:
                return at + 1
    return len(code)


def close_angle(code, start):
    """The offset after the > that closes the < at start, or start if it is no bracket."""
    depth, at = 0, start
    while at < len(code):
        c = code[at]
        if c == "<" and code[at:at + 2] != "<=":
            depth += 1
        elif c == ">" and code[at - 1] not in "-=":
            depth -= 1
            if depth == 0:
                return at + 1
        elif c in "([{":
            at = close(code, at)
            continue
        elif c in ";)]}":
            return start
        at += 1
    return start


def split_top(text, separator=","):
    """Splits at separators that stand outside of all brackets."""
    parts, depth, begin = [], 0, 0
    for at, c in enumerate(text):
        if c in "([{<":
            depth += 1
        elif c in ")]}" or (c == ">" and text[at - 1:at] != "-"):
            depth -= 1
        elif c == separator and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
    parts.append(text[begin:])
    return [p.strip() for p in parts if p.strip()]


def _without_preprocessor(code):
    def blank(found):
        return re.sub(r"[^\n]", " ", found[0])
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", blank, code, flags=re.MULTILINE)


_OPERATOR = re.compile(
    r'\boperator\s*(\(\s*\)|\[\s*\]|""\s*\w+|co_await\b|new\b|delete\b|[-+*/%^&|~!=<>,]+)')


def _hide_operators(head):
    """operator== and its like become names, so that their signs are not taken for brackets or initialisers."""
    return _OPERATOR.sub(lambda m: "operator" + "_" * (len(m[0]) - len("operator")), head)


def _strip_prefix(head):
    """Offset of what follows template<...>, a requires-clause in parentheses, and attributes."""
    at = 0
    while True:
        at += len(head[at:]) - len(head[at:].lstrip())
        rest = head[at:]
        if re.match(r"template\s*<", rest):
            after = close_angle(head, head.index("<", at))
            if after <= at:
                return at
            at = after
        elif re.match(r"requires\s*\(", rest):
            at = close(head, head.index("(", at))
            while re.match(r"\s*(&&|\|\|)\s*\(", head[at:]):
                at = close(head, head.index("(", at))
        elif re.match(r"requires\b", rest):
            # requires a<T> && b<T>: ends where the next thing is neither an operator nor joined to one.
            step = re.compile(r"(requires|&&|\|\|)\s*!?\s*[\w:]+\s*")
            while (found := step.match(head, at)) is not None:
                at = found.end()
                if head[at:at + 1] == "<":
                    at = max(close_angle(head, at), at + 1)
                at += len(head[at:]) - len(head[at:].lstrip())
        elif rest.startswith("[["):
            at = close(head, at)
        else:
            return at


class _Parser:
    def __init__(self, source):
        self.source = source
        self.code = _without_preprocessor(source.code)
        self.found = []
        self.ends = {}  # last line of a function -> its index, for groups

    def run(self):
        self._scope(0, len(self.code), [])
        self._attach_comments()
        return self.found

    def _scope(self, at, end, scopes):
        """Reads statements until the scope's closing brace; gives the offset after it."""
        start = at
        while at < end:
            c = self.code[at]
            if c == "}":
                return at + 1
            if c == ";":
                self._statement(start, at + 1, scopes, body=None)
                at = start = at + 1
            elif c == ":" and scopes and scopes[-1].kind == "class" and re.fullmatch(
                    r"\s*(public|private|protected)\s*", self.code[start:at]):
                scopes[-1].public = "public" in self.code[start:at]
                at = start = at + 1
            elif c in "([":
                at = close(self.code, at)
            elif c == "{":
                at, start = self._brace(start, at, scopes)
            else:
                at += 1
        return at

    def _brace(self, start, at, scopes):
        """Decides what a brace opens. Gives where to go on, and where the next statement starts."""
        head = _hide_operators(self.code[start:at])
        body = head[_strip_prefix(head):].strip()
        after = close(self.code, at)
        namespace = re.match(r"(?:inline\s+)?namespace\b\s*([\w:]*)", body)
        if namespace:
            after = self._scope(at + 1, len(self.code), scopes + [_Scope("namespace", namespace[1], True)])
            return after, after
        if re.fullmatch(r'extern\s*"\s*"', body):
            after = self._scope(at + 1, len(self.code), scopes)
            return after, after
        if re.match(r"(class|struct|union)\b", body) and not self._declarator(body):
            name, specialised = self._class_name(body)
            outer = all(s.public for s in scopes)
            inner = _Scope("class", name, body[0] != "c", specialised)
            inner_scopes = scopes + [inner]
            if not outer:
                inner_scopes = scopes + [_Scope("class", name, False), inner]
            after = self._scope(at + 1, len(self.code), inner_scopes)
            return after, start  # until the semicolon
        if re.match(r"enum\b", body) or not self._declarator(body):
            return after, start
        if re.search(r"(requires|=|&&|\|\|)\s*requires\s*(\([^{}]*\))?\s*$", head):
            return after, start  # a requires-expression
        if self._in_initialisers(body):
            return after, start
        self._statement(start, after, scopes, body=at)
        return after, after

    @staticmethod
    def _class_name(body):
        head = re.split(r"(?<!:):(?!:)", body)[0]
        head = re.sub(r"\[\[.*?\]\]|\bfinal\b|\balignas\s*\([^)]*\)", " ", head)
        specialised = "<" in head
        names = re.findall(r"\w+", head.split("<")[0])
        return (names[-1] if len(names) > 1 else ""), specialised

    @staticmethod
    def _in_initialisers(body):
        """True for the brace of a member in X() : a_{1}, b_{2} {}."""
        declarator = _Parser._declarator(body)
        rest = body[close(body, declarator[1]):]
        colon = re.search(r"(?<!:):(?!:)", rest)
        return bool(colon) and re.search(r"[\w>]\s*$", rest[colon.end():]) is not None

    @staticmethod
    def _declarator(body):
        """(name, offset of its parenthesis) if the text declares a function."""
        at = 0
        while at < len(body):
            c = body[at]
            if c == "<":
                at = max(close_angle(body, at), at + 1)
            elif c == "=":
                return None
            elif c in "[{":
                at = close(body, at)
            elif c == "(":
                name = re.search(r"([~\w]+)\s*$", body[:at])
                if not name:
                    return None
                if name[1] in ("decltype", "alignas", "__attribute__", "requires", "explicit", "noexcept"):
                    at = close(body, at)
                    continue
                inside = body[at + 1:].lstrip()
                if inside.startswith(("*", "&")) and not inside.startswith("*this"):
                    return None  # a pointer to a function
                return name[1], at
            else:
                at += 1
        return None

    def _statement(self, start, end, scopes, body):
        text = self.code[start:body if body is not None else end]
        start += len(text) - len(text.lstrip())
        head = _hide_operators(self.code[start:body if body is not None else end])
        begin = _strip_prefix(head)
        head = head[begin:]
        if re.match(r"\s*(using|typedef|static_assert|concept|extern\s+template)\b", head):
            return
        declarator = self._declarator(head)
        if not declarator:
            return
        _, paren = declarator
        name_match = re.search(r"[~\w]+\s*$", head[:paren])
        before = head[:name_match.start()]
        real = self.code[start + begin:]
        name = real[name_match.start():paren].strip()
        after_parameters = close(head, paren)
        rest = head[after_parameters:]
        parameters = real[paren + 1:after_parameters - 1]
        in_class = bool(scopes) and scopes[-1].kind == "class"
        qualified = before.rstrip().endswith("::")
        plain_before = re.sub(r"\b(explicit|constexpr|inline|consteval|TANDEM_EXPORT)\b(\s*\([^()]*\))?|\s", "", before)
        if not in_class and not qualified and not plain_before and "->" in rest:
            return  # a deduction guide
        class_name = scopes[-1].name if in_class else ""
        constructor = in_class and name == class_name
        own = rf"(const\s+)?{re.escape(class_name)}\s*(<[^()]*>)?\s*&&?\s*\w*"
        special = in_class and (
            (constructor and (not parameters.strip() or re.fullmatch(own, parameters.strip()) is not None))
            or (name == "operator=" and re.fullmatch(own, parameters.strip()) is not None))
        self.found.append(Function(
            name=re.sub(r"\s+", "", name),
            scope=tuple(s.name for s in scopes),
            parameters=parameters,
            start=self.source.line_of(start),
            end=self.source.line_of(end - 1),
            public=all(s.public for s in scopes) or bool(re.match(r"\s*(TANDEM_EXPORT\s+)?friend\b", before)),
            noexcept=bool(re.search(r"\bnoexcept\b(?!\s*\()", rest)) or name.startswith("~"),
            defaulted=bool(re.search(r"=\s*(default|delete)\s*;", rest)),
            constructor=constructor,
            special=special,
            qualified=qualified,
            specialised=any(s.specialised for s in scopes),
            has_body=body is not None))

    def _attach_comments(self):
        lines = self.source.lines
        last = None
        for number, function in enumerate(self.found, 1):
            function.group = number
            block = []
            at = function.start - 2
            while at >= 0 and re.match(r"\s*//", lines[at]):
                block.insert(0, lines[at])
                at -= 1
            block = [re.sub(r"^\s*///?[!<]?\s?", "", line).rstrip() for line in block]
            block = [line for line in block if not re.match(r"(clang-format|NOLINT|lint:)", line)]
            trailing = re.search(r"//[/!<]*\s*(.+)$", lines[function.end - 1])
            if block:
                function.comment = block
            elif trailing and not self._is_code_after(function):
                function.comment = [trailing[1].strip()]
            elif last is not None and last.comment and last.scope == function.scope and last.end in (
                    function.start - 1, function.start):
                function.comment, function.group = last.comment, last.group
            last = function

    def _is_code_after(self, function):
        """True if another function ends on the same line, so that a comment there belongs to that one."""
        return any(f is not function and f.end == function.end and f.start > function.start for f in self.found)
