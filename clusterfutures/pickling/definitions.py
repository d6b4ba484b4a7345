"""What a program defines, found again in another process: one namespace for each of its modules.

    program: by_value.Pickler --header: definitions--> | pickle |     --> apply(), then the pickle itself
                                                       (names them: find("__main__", "Model"))

Functions and classes of ``__main__`` (and of other modules that nobody can import on a node) travel as
*definitions*: module, name, version, pickle.  A pickle that needs some has them in its header, and refers to
them by name.  In each process all definitions of one module share one namespace, as they do in the program:
what an initializer or a call puts into a global, later calls find.

A name is bound only when its version is another than the one that was bound last here, that is when the
*program* changed it.  So what calls changed stays.  The version is a hash of the pickle.

On a node these modules are in ``sys.modules``: pickle, copy and multiprocessing find their names there.  In the
program a name is looked up in its own modules first, so a result has the program's own classes.  A program that
attaches to the run of another one, and lacks the name, gets it from the definition.
"""

from __future__ import annotations

import abc
import builtins
import contextlib
import functools
import importlib
import pickle
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from clusterfutures.store.frames import Bytes

__all__ = [
    "Bundle", "Key", "Later", "activate", "apply", "current_token", "fields", "find", "find_module", "header",
    "install", "is_applied", "is_known", "make_alias", "make_cached", "make_class", "make_enum", "make_function",
    "make_instance",
    "make_logger", "make_only", "make_parameter", "make_reference", "member", "module_names", "readers", "remember",
    "rest_of_program", "set_attributes", "set_alias_value", "set_class_state", "set_function_state",
]  # fmt: skip

#: module -> its attributes (``__file__`` ...), and (name, version, pickle) of its definitions
Bundle = dict[str, tuple[dict[str, Any], list[tuple[str, bytes, bytes]]]]
Key = tuple[str, str]

_MISSING = object()
_lock = threading.RLock()
#: classes that were made here, by the number that the program gave them
_classes: weakref.WeakValueDictionary[str, type] = weakref.WeakValueDictionary()
_numbers: weakref.WeakKeyDictionary[type, str] = weakref.WeakKeyDictionary()
_made: weakref.WeakSet[type] = weakref.WeakSet()
#: classes that were made, or are made anew, and have yet to get their attributes
_unfinished: set[int] = set()


class _Program:
    """The modules of one program, as they are in this process.

    installed: they are in ``sys.modules``; so on a node.
    """

    def __init__(self, token: str, installed: bool) -> None:
        self.token = token
        self.installed = installed
        self.modules: dict[str, types.ModuleType] = {}
        self.names: list[bytes] = []
        self.versions: dict[Key, bytes] = {}
        self.pending: dict[Key, tuple[bytes, bytes]] = {}
        self.partial: dict[Key, Any] = {}
        self.loading: dict[Key, bytes] = {}
        #: values that were needed while they were loaded
        self.early: dict[Key, Any] = {}
        self.waiting: dict[Key, list[Callable[[Any], None]]] = {}
        self.rest = ""
        self.lazy: dict[Key, tuple[bytes, bytes]] | None = None
        self.bound: dict[Key, tuple[bytes, bytes]] = {}  # what is not large, for processes that calls start

    def module(self, name: str, attributes: dict[str, Any] | None = None) -> types.ModuleType:
        """The module of that name, made when it is new."""
        module = self.modules.get(name)
        if module is None:
            module = self.modules[name] = types.ModuleType(name)
            self.names.append(name.encode())
            module.__dict__["__builtins__"] = builtins
            module.__dict__.update(attributes or {})
            if self.installed:
                module.__dict__["__getattr__"] = functools.partial(self._later, name)
                self._install(name, module)
        return module

    def _install(self, name: str, module: types.ModuleType) -> None:
        sys.modules[name] = module
        parent, _, last = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], last, module)

    def activate(self) -> None:
        """Make its modules those that are found, and its arguments those of the process."""
        argv = self.modules["__main__"].__dict__.get("__argv__") if "__main__" in self.modules else None
        if argv is not None:
            sys.argv[:] = argv
        for name, module in self.modules.items():
            if sys.modules.get(name) is not module:
                self._install(name, module)

    def find(self, module: str, name: str) -> Any:
        """The value of a name; raises AttributeError."""
        key = (module, name)
        if key in self.partial:
            return self.partial[key]
        if key in self.pending:
            return self._load(key)
        if key in self.loading:
            return self._early(key)
        found = self.module(module).__dict__.get(name, _MISSING)
        return self._later(module, name) if found is _MISSING else found

    def _later(self, module: str, name: str) -> Any:
        """A name that no call needed so far; as ``__getattr__`` of the module."""
        key = (module, name)
        if not name.startswith("__") and key not in self.versions and key in self._rest():
            self.pending[key] = self._rest()[key]
            with _lock:
                value = self._load(key)
                self.load_rest(module)  # its code names others
            return value
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    def _rest(self) -> dict[Key, tuple[bytes, bytes]]:
        """The definitions that no pickle brought so far."""
        run, _, stored = self.rest.partition(" ")
        if self.lazy is None and run in readers:
            bundle = pickle.loads(readers[run](stored))
            self.lazy = {(where, name): (version, data) for where, _, name, version, data in _each(bundle)}
        return self.lazy or {}

    def apply(self, bundle: Bundle) -> None:
        """Bind what the program has changed, or what is new."""
        wanted = []
        for where, attributes, name, version, data in _each(bundle):
            self.module(where, attributes)
            if self.versions.get((where, name)) != version:
                self.pending[where, name] = (version, data)
                wanted.append((where, name))
        try:
            for key in wanted:
                if key in self.pending:  # else another one needed it
                    self._load(key)
        finally:
            for key in wanted:
                self.pending.pop(key, None)

    def load_rest(self, module: str) -> None:
        """Bind what can be bound of a module; what cannot raises when it is asked for itself."""
        for key, entry in self._rest().items():
            if key[0] == module and key not in self.versions and key not in self.loading:
                self.pending.setdefault(key, entry)
                try:
                    self._load(key)
                except Exception as error:
                    import logging  # late: most nodes need none

                    logging.getLogger("clusterfutures").debug("%s.%s cannot be had here: %r", *key, error)

    def load_pending(self, module: str) -> None:
        """Bind all of a module: a function will look for it in its globals."""
        for key, entry in self._rest().items():
            if key[0] == module and key not in self.versions and key not in self.loading:
                self.pending.setdefault(key, entry)
        for key in [key for key in self.pending if key[0] == module]:
            if key in self.pending:
                self._load(key)

    def _load(self, key: Key) -> Any:
        version, data = self.pending.pop(key)
        self.loading[key] = data
        try:
            value = pickle.loads(data)
        finally:
            del self.loading[key]
            self.partial.pop(key, None)
            waiting = self.waiting.pop(key, ())
        value = self.early.pop(key, value)
        if not key[1].startswith("<"):  # what is done, and not bound
            self.module(key[0]).__dict__[key[1]] = value
        self.versions[key] = version
        if len(data) <= _MOST_BYTES:
            self.bound[key] = version, data
        for put in waiting:
            put(value)
        return value

    def content(self) -> bytes:
        """What ``take_over`` needs of it."""
        entries = self._rest() | self.bound
        for key, version in self.versions.items():
            if key not in entries:
                with contextlib.suppress(Exception):  # it is large; and what plain pickle cannot do is missing there
                    entries[key] = version, pickle.dumps(self.module(key[0]).__dict__[key[1]], 5)
        attributes = {
            name: {n: v for n, v in vars(module).items() if n in _SAID and type(v) in (str, list)}
            for name, module in self.modules.items()
        }
        return pickle.dumps((self.token, attributes, entries), 5)

    def _early(self, key: Key) -> Any:
        """The value of an instance that its own class, whose attributes are loaded now, holds.

        Loaded a second time: now the class is there.  The first one is dropped.
        """
        if key not in self.early:
            data, self.loading[key] = self.loading[key], b""
            try:
                self.early[key] = pickle.loads(data)
            finally:
                self.loading[key] = data
        return self.early[key]


def _each(bundle: Bundle) -> Iterator[tuple[str, dict[str, Any], str, bytes, bytes]]:
    for where, (attributes, entries) in bundle.items():
        for name, version, data in entries:
            yield where, attributes, name, version, data


#: what modules say of themselves
_SAID = ("__name__", "__file__", "__package__", "__doc__", "__path__", "__argv__")
#: larger definitions are not kept as bytes
_MOST_BYTES = 1 << 20

_programs: dict[str, _Program] = {}
_current: _Program | None = None
#: True on a node: the modules of the program that is served are those of the process
_serves = False
#: of this process, when it is itself the program
_own_token = ""


#: the header of results that are plain pickles: token, rest, bytes
_prefix = ("", "", b"")

#: run -> what reads the definitions that no call needed so far, as they are stored there under a key
readers: dict[str, Callable[[str], bytes]] = {}


def install(token: str, main: dict[str, Any]) -> None:
    """Make this process serve a program: put its ``__main__`` into ``sys.modules``.

    main: ``__file__`` and the like; ``__argv__``: its ``sys.argv``.
    """
    global _serves
    _serves = True
    program = _program(token)
    program.module("__main__", main).__dict__["__spec__"] = _Spec(program.content)
    activate(token)


class _Spec:
    """Stands for ``child_processes.MainSpec`` until somebody reads it."""

    def __init__(self, content: Callable[[], bytes]) -> None:
        self._content = content

    def __getattr__(self, name: str) -> Any:
        from clusterfutures.pickling.child_processes import MainSpec  # late: most calls start no process

        self.__class__ = MainSpec  # type: ignore[assignment]
        MainSpec.__init__(self, self._content)  # type: ignore[arg-type]
        return getattr(self, name)


def take_over(
    token: str, attributes: dict[str, dict[str, Any]], entries: dict[Key, tuple[bytes, bytes]]
) -> dict[str, Any]:
    """Make this process, which a call has started, serve the call's program; what its ``__main__`` is to have.

    attributes: of each of the program's modules.  entries: all definitions, loaded when they are asked for.
    """
    install(token, attributes.pop("__main__", {}))
    program = _program(token)
    program.lazy = entries
    for name, said in attributes.items():
        program.module(name, said)
    for name in program.modules:
        program.load_rest(name)
    own = {"__name__": "__mp_main__", "__getattr__": functools.partial(program.find, "__main__")}
    return vars(program.module("__main__")) | own


def current_token() -> str:
    """Return the token of the program that owns the definitions which this process pickles."""
    global _own_token
    if _current is not None and _serves:
        return _current.token
    if not _own_token:
        import uuid  # late: a node needs none

        _own_token = uuid.uuid4().hex
    return _own_token


def rest_of_program() -> str:
    """On a node: where the definitions of the program are stored; "" when no call brought any."""
    return _current.rest if _current is not None and _serves else ""


def module_names() -> list[bytes]:
    """Return the names of the program's modules, as a pickle has them."""
    return _current.names if _current is not None else []


def told_apart(data: bytes) -> bytes:
    """A plain pickle of a result; where it names something of the program, with a header that says of which.

    A program that attaches to the run has other names in its ``__main__``, or none.
    """
    global _prefix
    if _current is None or not any(name in data for name in _current.names) or not _current.rest:
        return data
    if _prefix[:2] != (_current.token, _current.rest):
        _prefix = _current.token, _current.rest, header(_current.token, _current.rest, {})
    return _prefix[2] + data


def is_known(key: Key) -> bool:
    """True for a definition that this process has from the program that it serves."""
    return _current is not None and key in _current.versions


def _program(token: str) -> _Program:
    program = _programs.get(token)
    if program is None:
        program = _programs[token] = _Program(token, _serves)
    return program


def activate(token: str) -> None:
    """What is found by name is, from now on, that of this program."""
    global _current
    if _current is None or _current.token != token:
        _current = _program(token)
        if _serves:
            _current.activate()


def is_applied(token: str, versions: Iterable[tuple[Key, bytes]]) -> bool:
    """True when all of these definitions are the ones that were bound last; activates the program."""
    activate(token)
    known = _program(token).versions
    return all(known.get(key) == version for key, version in versions)


def header(token: str, rest: str, bundle: Bundle) -> bytes:
    """The bytes to put in front of a pickle that needs definitions.

    A pickle of its own without the final STOP; its value is dropped.  Nothing of it is memoised, so the
    numbers in the pickle that follows hold.
    """
    data = pickle.dumps((rest, bundle), 5)
    module, name, mark = __name__.encode(), b"apply", token.encode()
    return b"".join(
        (
            b"\x80\x05",  # PROTO 5
            b"\x8c", bytes([len(module)]), module, b"\x8c", bytes([len(name)]), name, b"\x93",  # STACK_GLOBAL
            b"\x8c", bytes([len(mark)]), mark, b"\x8e", len(data).to_bytes(8, "little"), data,  # BINBYTES8
            b"\x86R0",  # TUPLE2, REDUCE, POP
        )
    )  # fmt: skip


def fields(data: Bytes) -> tuple[str, list[tuple[Key, bytes]]] | None:
    """The token and the versions of a pickle's header; None when it has none."""
    at = 8 + len(__name__) + len("apply")
    start = bytes(data[: at + 34 + 8])
    if not start.startswith(b"\x80\x05\x8c" + bytes([len(__name__)]) + __name__.encode() + b"\x8c\x05apply\x93"):
        return None
    size = start[at]
    token = start[at + 1 : at + 1 + size].decode()
    begin = at + 1 + size + 1
    length = int.from_bytes(start[begin : begin + 8], "little")
    _, bundle = pickle.loads(data[begin + 8 : begin + 8 + length])
    return token, [((where, name), version) for where, _, name, version, _ in _each(bundle)]


def apply(token: str, data: bytes) -> None:
    """Bind the definitions of a header; called by the unpickler before the pickle itself."""
    rest, bundle = pickle.loads(data)
    if token == _own_token and not bundle:
        return  # a result of this very program: all is here
    with _lock:
        activate(token)
        program = _program(token)
        if rest and rest != program.rest:
            program.rest, program.lazy = rest, None
        if _serves:
            new = "__main__" in bundle and "__main__" not in program.modules
            program.apply(bundle)
            if new:
                program.activate()
        else:  # the program's own names come first; the others when they are asked for
            for where, _, name, version, content in _each(bundle):
                if member(sys.modules.get(where), name) is _MISSING:
                    program.pending[where, name] = (version, content)


# -- what pickles call ----------------------------------------------------------------


def find(module: str, path: str) -> Any:
    """The value of ``path`` (``name``, or ``Class.method``) in a module of the current program."""
    if not _serves:
        own = _walk(sys.modules.get(module), path)
        if own is not _MISSING:
            return own
    if _current is None:
        raise AttributeError(f"module {module!r} has no attribute {path!r}")
    first, _, more = path.partition(".")
    with _lock:
        found = _current.find(module, first)
    for part in more.split(".") if more else ():
        found = member(found, part)
    return found


def _walk(found: Any, path: str) -> Any:
    for part in path.split("."):
        found = member(found, part)
    return found


def member(owner: Any, name: str) -> Any:
    """What stands under a name in a module or class, a static or class method as its function."""
    found = getattr(owner, "__dict__", {}).get(name, _MISSING)
    return found.__func__ if isinstance(found, staticmethod | classmethod) else found


def find_module(name: str) -> types.ModuleType:
    """A module of the current program."""
    if not _serves and name in sys.modules:
        return sys.modules[name]
    if _current is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return _current.module(name)


def _namespace(module: str, importable: bool) -> dict[str, Any]:
    if importable:
        return importlib.import_module(module).__dict__
    if _serves or _current is None or (_current.token == _own_token and module in sys.modules):
        return find_module(module).__dict__
    with _lock:  # a function of another program
        _current.load_pending(module)
    return _current.module(module).__dict__


def make_function(
    code: types.CodeType, module: str, importable: bool, closure: tuple[Any, ...] | None, name: str
) -> types.FunctionType:
    """Make a function with the globals of ``module``; name: the global that it is the value of, or ""."""
    function = types.FunctionType(code, _namespace(module, importable), None, None, closure)
    _keep(module, name, function)
    return function


def _keep(module: str, name: str, value: Any) -> None:
    """While a definition is made, others that it needs may refer back to it."""
    if name and _current is not None:
        _current.partial[module, name] = value


def make_class(
    kind: type, name: str, bases: tuple[Any, ...], attributes: dict[str, Any], number: str, where: Key | None
) -> type:
    """Make a class without its attributes, or return the one that was made already.

    kind: its metaclass.  number: the same for the same class, in all processes.  where: module and name of
    the definition, when it is one: its attributes are then set, also those of a class that is known.
    """
    known = _classes.get(number)
    if known is None:
        known = _skeleton(kind, name, bases, attributes)
        remember(number, known)
        _made.add(known)
        _unfinished.add(id(known))
    elif where is not None and _serves:
        _unfinished.add(id(known))
    if where is not None:
        _keep(*where, known)
    return known


def make_enum(make: Callable[..., type], arguments: tuple[Any, ...], number: str, where: Key | None) -> type:
    """As ``make_class``, by a function for enumerations."""
    known = _classes.get(number)
    if known is None:
        with _without_init_subclass(tuple(base for given in arguments if type(given) is tuple for base in given)):
            known = make(*arguments)
        remember(number, known)
        _made.add(known)
        _unfinished.add(id(known))
    if where is not None:
        _keep(*where, known)
    return known


def remember(number: str, known: type) -> str:
    """Know a class by its number, so that it is not made a second time; returns the number that it had first."""
    first = _numbers.setdefault(known, number)
    _classes.setdefault(first, known)
    return first


def set_attributes(cls: type, setter: Callable[[Any, Any], Any], attributes: Any) -> None:
    """Set the attributes of a class that can hold no instances of it, unless it has them."""
    if id(cls) in _unfinished:
        setter(cls, attributes)


def set_class_state(cls: type, state: tuple[None, Callable[[Any, Any], Any], Any, dict[str, Later]]) -> None:
    """Set the other attributes of a class, unless it has them; shared: those that are globals as well."""
    if id(cls) in _unfinished:
        _, setter, attributes, shared = state
        setter(cls, attributes)
        missing = set(shared)
        for name, later in shared.items():
            later.put(functools.partial(_complete, cls, missing, name))
        if not missing:
            _unfinished.discard(id(cls))


def _complete(cls: type, missing: set[str], name: str, value: Any) -> None:
    setattr(cls, name, value)
    missing.discard(name)
    if not missing:
        _unfinished.discard(id(cls))


def make_instance(cls: type, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Make an instance as pickle does; of a class that is not whole yet, without the program's ``__new__``."""
    if not any(id(base) in _unfinished for base in cls.__mro__):
        return cls.__new__(cls, *arguments, **keywords)
    new = _builtin_new(cls)
    for given in ((),) if new is object.__new__ else (arguments, arguments[:1]):
        with contextlib.suppress(TypeError, ValueError):
            return new(cls, *given)
    return cls.__new__(cls, *arguments, **keywords)


def make_only(cls: type) -> Any:
    """Make the one object that a name stands for.  The program's ``__new__`` may refuse to."""
    return _builtin_new(cls)(cls)


def _builtin_new(cls: type) -> Any:
    """The first ``__new__`` that is not the program's."""
    return next(base.__new__ for base in cls.__mro__ if type(base.__new__) is types.BuiltinFunctionType)


def set_function_state(
    function: types.FunctionType, state: tuple[Callable[[Any, Any], Any], Any, dict[int | str, Later], dict[int, Later]]
) -> None:
    """Set the attributes of a function; defaults, cells: those of its defaults and cells that are globals as well."""
    setter, attributes, defaults, cells = state
    setter(function, attributes)
    for number, later in defaults.items():
        later.put(functools.partial(_set_default, function, number))
    for number, later in cells.items():
        later.put(functools.partial(setattr, (function.__closure__ or ())[number], "cell_contents"))


def _set_default(function: types.FunctionType, number: int | str, value: Any) -> None:
    if isinstance(number, str):
        function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), number: value}
        return
    values = list(function.__defaults__ or ())
    values[number] = value
    function.__defaults__ = tuple(values)


class Later:
    """A global that a class or function refers to, and that may refer to it in turn."""

    __slots__ = ("_key",)

    def __init__(self, module: str, name: str) -> None:
        self._key = (module, name)

    def __reduce__(self) -> Any:
        return Later, self._key

    def put(self, put: Callable[[Any], None]) -> None:
        """Call ``put`` with the value, now or when it is complete."""
        if _current is not None and self._key in _current.loading and self._key not in _current.partial:
            _current.waiting.setdefault(self._key, []).append(put)
        else:
            put(find(*self._key))


def _skeleton(kind: type, name: str, bases: tuple[Any, ...], attributes: dict[str, Any]) -> type:
    """A class as ``class name(*bases, metaclass=kind)`` makes it, except that nothing of the program's code runs.

    Its code ran when the program defined the class.  The keywords of the definition are not known any more,
    and a second run would enter the class twice into what keeps a list of classes.
    """
    plain = types.resolve_bases(bases)
    content = dict(attributes)
    if plain is not bases:
        content["__orig_bases__"] = bases
    with _without_init_subclass(plain):
        if any(base in _made and {"__new__", "__init__", "__prepare__"} & vars(base).keys() for base in kind.__mro__):
            make = abc.ABCMeta.__new__ if issubclass(kind, abc.ABCMeta) else type.__new__
            made: type = make(kind, name, plain, content)
            return made
        return types.new_class(name, bases, {"metaclass": kind}, lambda body: body.update(attributes))


@contextlib.contextmanager
def _without_init_subclass(bases: tuple[Any, ...]) -> Iterator[None]:
    """Keep the ``__init_subclass__`` of the program's own classes from running."""
    found = {
        base: base.__dict__["__init_subclass__"]
        for direct in bases
        for base in getattr(direct, "__mro__", ())
        if base in _made and "__init_subclass__" in base.__dict__
    }
    for base in found:
        type.__setattr__(base, "__init_subclass__", classmethod(_nothing))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for base, method in found.items():
            type.__setattr__(base, "__init_subclass__", method)


def _nothing(_cls: type, **_keywords: Any) -> None:
    """Stands for ``__init_subclass__`` while a class is made."""


def make_cached(function: Any, parameters: dict[str, Any], module: str, name: str) -> Any:
    """Make what ``functools.lru_cache(**parameters)`` makes of a function; name: as for ``make_function``."""
    made = functools.lru_cache(**parameters)(function)
    _keep(module, name, made)
    return made


def make_parameter(kind: type, name: str, keywords: dict[str, Any], module: str) -> Any:
    """Make a ``ParamSpec`` or ``TypeVarTuple`` of that module: it would be of the one that calls."""
    made = kind(name, **keywords)
    made.__module__ = module
    return made


def make_alias(name: str, module: str, own: str) -> Any:
    """Make what ``type name = ...`` makes, without its value; own: as for ``make_function``."""
    namespace: dict[str, Any] = {"__name__": module}
    assert name.isidentifier(), name
    exec(f"type {name} = _value()", namespace)  # a statement of Python 3.12
    alias = namespace[name]
    _values[id(alias)] = namespace
    _keep(module, own, alias)
    return alias


def set_alias_value(alias: Any, value: Any) -> None:
    """Give an alias its value."""
    _values.pop(id(alias))["_value"] = lambda: value


#: aliases that have no value yet, by their ids: what that will be looked up in
_values: dict[int, dict[str, Any]] = {}


def make_logger(name: str, level: int, propagate: bool, disabled: bool) -> Any:
    """Return the logger of that name, as the program has set it.  Its handlers stay with the program."""
    import logging  # late: most nodes need none

    logger = logging.getLogger(name)
    logger.setLevel(level)
    logger.propagate, logger.disabled = propagate, disabled
    return logger


def make_reference(to: Any) -> Any:
    """Make a weak reference; to None: one to an object that is gone."""
    return weakref.ref(to if to is not None else _Gone())


class _Gone:
    """What a dead reference referred to."""
