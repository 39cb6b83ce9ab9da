"""Which language a file is in, and which nodes of its grammar are definitions.

Node and field names are those of the `node-types.json` each tree-sitter grammar publishes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath

from tree_sitter import Language as Grammar
from tree_sitter import Parser


@dataclass(frozen=True, slots=True)
class Language:
    """One language with a grammar.

    Attributes:
        module: the wheel that carries the grammar.
        factory: function of that module which returns it.
        definitions: node type -> field that holds its name.
        wrappers: nodes around one definition, which take its name.
        leading: nodes that belong to what follows them (comments, attributes).
        separator: between the parts of a qualified name.
        ascii: whether the parser must see nothing else: it reads memory that is not its own at
            other characters (tree-sitter-bash 0.25.1, its issue 337), which ends the process.
    """

    module: str
    definitions: dict[str, str]
    wrappers: frozenset[str] = frozenset()
    leading: frozenset[str] = frozenset({"comment"})
    factory: str = "language"
    separator: str = "."
    kind: str = "code"
    ascii: bool = False


def _named(*node_types: str) -> dict[str, str]:
    return dict.fromkeys(node_types, "name")


_ECMASCRIPT = _named(
    "function_declaration",
    "generator_function_declaration",
    "class_declaration",
    "method_definition",
    "variable_declarator",
)
_ECMASCRIPT_WRAPPERS = frozenset(
    {"export_statement", "lexical_declaration", "variable_declaration", "expression_statement"}
)
_TYPESCRIPT = _ECMASCRIPT | _named(
    "abstract_class_declaration",
    "enum_declaration",
    "function_signature",
    "interface_declaration",
    "internal_module",
    "module",
    "type_alias_declaration",
)

PYTHON = Language(
    "tree_sitter_python",
    _named("function_definition", "class_definition"),
    frozenset({"decorated_definition"}),
)
BASH = Language("tree_sitter_bash", _named("function_definition"), ascii=True)
MARKDOWN = Language(
    "tree_sitter_markdown",
    {"section": "heading_content"},
    leading=frozenset(),
    separator=" > ",
    kind="doc",
)
JAVASCRIPT = Language("tree_sitter_javascript", _ECMASCRIPT, _ECMASCRIPT_WRAPPERS)
TYPESCRIPT = Language(
    "tree_sitter_typescript", _TYPESCRIPT, _ECMASCRIPT_WRAPPERS, factory="language_typescript"
)
TSX = Language("tree_sitter_typescript", _TYPESCRIPT, _ECMASCRIPT_WRAPPERS, factory="language_tsx")
GO = Language(
    "tree_sitter_go",
    _named("function_declaration", "method_declaration", "type_spec", "type_alias"),
    frozenset({"type_declaration"}),
)
RUST = Language(
    "tree_sitter_rust",
    _named(
        "const_item",
        "enum_item",
        "function_item",
        "function_signature_item",
        "macro_definition",
        "mod_item",
        "static_item",
        "struct_item",
        "trait_item",
        "type_item",
        "union_item",
    )
    | {"impl_item": "type"},
    leading=frozenset({"line_comment", "block_comment", "attribute_item"}),
    separator="::",
)
JAVA = Language(
    "tree_sitter_java",
    _named(
        "annotation_type_declaration",
        "class_declaration",
        "constructor_declaration",
        "enum_declaration",
        "interface_declaration",
        "method_declaration",
        "record_declaration",
    ),
    leading=frozenset({"line_comment", "block_comment"}),
)
C = Language(
    "tree_sitter_c",
    {"function_definition": "declarator", "type_definition": "declarator"}
    | _named("struct_specifier", "enum_specifier", "union_specifier"),
)
CPP = Language(
    "tree_sitter_cpp",
    C.definitions | _named("class_specifier", "namespace_definition", "alias_declaration"),
    frozenset({"template_declaration"}),
    separator="::",
)
CSHARP = Language(
    "tree_sitter_c_sharp",
    _named(
        "class_declaration",
        "constructor_declaration",
        "delegate_declaration",
        "enum_declaration",
        "interface_declaration",
        "method_declaration",
        "namespace_declaration",
        "property_declaration",
        "record_declaration",
        "struct_declaration",
    ),
)
PHP = Language(
    "tree_sitter_php",
    _named(
        "class_declaration",
        "enum_declaration",
        "function_definition",
        "interface_declaration",
        "method_declaration",
        "trait_declaration",
    ),
    factory="language_php",
    separator="::",
)
RUBY = Language(
    "tree_sitter_ruby", _named("class", "method", "module", "singleton_method"), separator="::"
)

_BY_SUFFIX = {
    **dict.fromkeys((".py", ".pyi", ".pyw"), PYTHON),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".ksh", ".bats"), BASH),
    **dict.fromkeys((".md", ".markdown", ".mdx"), MARKDOWN),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx"), JAVASCRIPT),
    **dict.fromkeys((".ts", ".mts", ".cts"), TYPESCRIPT),
    ".tsx": TSX,
    ".go": GO,
    ".rs": RUST,
    ".java": JAVA,
    ".c": C,
    # A header may be of either; C++ reads nearly all of C.
    **dict.fromkeys((".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".hxx", ".inl"), CPP),
    ".cs": CSHARP,
    **dict.fromkeys((".php", ".phtml"), PHP),
    **dict.fromkeys((".rb", ".rake", ".gemspec", ".ru"), RUBY),
}
_BY_INTERPRETER = {
    **dict.fromkeys(("bash", "zsh", "sh"), BASH),
    "node": JAVASCRIPT,
    "php": PHP,
    "python": PYTHON,
    "ruby": RUBY,
}

_KINDS = {
    "doc": ".rst .adoc .asciidoc .org .tex .txt",
    "config": """.json .jsonc .json5 .yaml .yml .toml .ini .cfg .conf .env .properties .xml .tf .hcl
        .gradle .mk .cmake .service .plist .editorconfig
        dockerfile makefile gnumakefile jenkinsfile procfile""",
    "code": """.pl .pm .lua .swift .kt .kts .scala .clj
        .ex .exs .erl .hs .ml .mli .r .jl .dart .m .mm .vue .svelte .html .htm .css .scss .sass
        .less .sql .proto .graphql .ps1 .bat .fish .vim .el .zig .nim .groovy .awk .asm .s .f90
        .sol""",
}
_KIND_BY_NAME = {name: kind for kind, names in _KINDS.items() for name in names.split()}


def language_of(path: str, text: str = "") -> Language | None:
    """The language with a grammar that a file is in: by suffix, else by its `#!` line."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix or not text.startswith("#!"):
        return _BY_SUFFIX.get(suffix)
    words = text[2:200].split("\n", 1)[0].replace("/env ", "/").split()
    interpreter = words[0].rpartition("/")[2].rstrip(".0123456789") if words else ""
    return _BY_INTERPRETER.get(interpreter)


def kind_of(path: str, language: Language | None) -> str:
    """What a file holds: `code`, `doc`, `config` or `text`."""
    if language is not None:
        return language.kind
    name = PurePosixPath(path.lower())
    return _KIND_BY_NAME.get(name.suffix) or _KIND_BY_NAME.get(name.stem, "text")


@cache
def parser(language_module: str, factory: str) -> Parser:
    """The parser of one grammar; made once per process (parsers keep no state between files)."""
    return Parser(Grammar(getattr(import_module(language_module), factory)()))
