"""cloudpickle, with what tracebacks, child processes of multiprocessing and Python 3.14 need.

Code keeps the name and the lines of its file (``pickling/code_objects.py``).

Used in the program and on the node, for everything that plain pickle cannot do.
"""

from __future__ import annotations

import contextvars
import copyreg
import enum
import functools
import hashlib
import importlib
import io
import itertools
import logging
import pickle
import sys
import threading
import types
import typing
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import cloudpickle

from clusterfutures.pickling import annotated, code_objects, definitions, enums, instances
from clusterfutures.pickling.calls import Call
from clusterfutures.pickling.fingerprints import ATOMS, DESCRIPTORS, Part, is_note, looks_up, parts_of
from clusterfutures.pickling.named import NAMED
from clusterfutures.pickling.reaching import may_be_named

__all__ = ["Pickler", "StatePickler", "ask_for", "culprit", "dumps", "everything", "is_by_value"]

#: of an object when its class has none of its own
_REDUCE: Any = object.__reduce__
logger = logging.getLogger("clusterfutures")

#: items of a container that travels although no function names it, at the most
_MOST_ITEMS = 1000
#: the same for text and bytes
_MOST_BYTES = 65_536


_REDUCERS: dict[Any, Callable[[Any], Any]] = {
    types.CodeType: code_objects.reduced,
    io.TextIOWrapper: lambda file: _file(file),
    functools.cached_property: lambda prop: _cached_property(prop),
    functools.partialmethod: lambda method: (
        functools.partial(functools.partialmethod, **method.keywords),
        (method.func, *method.args),
    ),
    weakref.ReferenceType: lambda ref: (definitions.make_reference, (ref(),)),
    weakref.WeakKeyDictionary: lambda weak: (weakref.WeakKeyDictionary, (dict(weak.items()),)),
    weakref.WeakValueDictionary: lambda weak: (weakref.WeakValueDictionary, (dict(weak.items()),)),
}


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's pickler, which refers to definitions by name and puts them in front of the pickle.

    rest: stores further definitions (``everything``), and returns where.
    result: it goes back to the program, which knows its own definitions by their names.
    """

    dispatch_table: ClassVar[ChainMap[Any, Any]] = ChainMap(_REDUCERS, cloudpickle.Pickler.dispatch_table)
    if sys.version_info >= (3, 14):
        from annotationlib import ForwardRef as _ForwardRef

        dispatch_table = dispatch_table.new_child({_ForwardRef: annotated.reduced})

    #: the definition that is pickled: module and name
    _where: tuple[str, str] | None = None

    def __init__(
        self,
        file: Any,
        protocol: int | None = None,
        buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
        rest: Callable[[], str] | None = None,
        found: _Found | None = None,
        result: bool = False,
    ) -> None:
        main = sys.modules.get("__mp_main__")
        if main is not None:  # so multiprocessing calls the program in a child process: no node can import that
            cloudpickle.register_pickle_by_value(main)
        synchronize = sys.modules.get("multiprocessing.synchronize")
        if synchronize is not None and synchronize.Lock not in _REDUCERS:
            from clusterfutures.pickling import locks  # late: few programs have locks of multiprocessing

            locks.register(_REDUCERS)
        connection = sys.modules.get("multiprocessing.connection")
        if connection is not None:
            _REDUCERS.setdefault(connection.Connection, _refuse)
        self._file = file
        self._body = io.BytesIO()
        self._rest = definitions.rest_of_program if result else rest
        self._found = _Found(bool(result and definitions.rest_of_program())) if found is None else found
        super().__init__(self._body, protocol, buffer_callback)

    @property
    def culprit(self) -> Any:
        """The object at which ``dump`` failed."""
        return self._found.last

    def dump(self, obj: Any) -> None:
        """As documented for pickle."""
        super().dump(obj)
        bundle = self._found.bundle()
        if bundle or self._found.leaves_out:
            rest = "" if self._rest is None else self._rest()
            self._file.write(definitions.header(definitions.current_token(), rest, bundle))
        self._file.write(self._body.getbuffer())

    def reducer_override(self, obj: Any) -> Any:
        """As documented for pickle: how to pickle ``obj``, or NotImplemented."""
        kind = type(obj)
        self._found.last = obj
        if kind is types.FunctionType:
            return self._function(obj)
        if issubclass(kind, type):
            return self._class(obj)
        if kind is types.ModuleType:
            return self._module(obj)
        if kind in NAMED:
            return self._named(obj, obj.__module__, getattr(obj, "__qualname__", "") or obj.__name__, NAMED[kind])
        if is_by_value(kind.__module__):
            if kind.__reduce__ is not _REDUCE:
                return self._sentinel(obj)
            if issubclass(kind, enum.Enum):
                return enums.by_name(obj)
            if type(kind.__new__) is types.FunctionType and self._may_be_in_its_class(kind):
                return instances.reduced(obj)
        return NotImplemented

    # -- by name, or by value ---------------------------------------------------------

    def _reference(self, obj: Any, module: Any, path: Any) -> tuple[Any, ...] | None:
        """How to pickle what is found by its name in a module that travels by value; None for another."""
        if not isinstance(module, str) or not isinstance(path, str) or not is_by_value(module):
            return None
        name = path.partition(".")[0]
        if self._where == (module, name):
            return None
        found: Any = sys.modules.get(module)
        for part in path.split("."):
            found = definitions.member(found, part)
        if found is not obj:
            return None
        self._found.need(module, name)
        return definitions.find, (module, path)

    def _own_name(self, obj: Any) -> str:
        """The global that ``obj`` is the value of, when it is the definition that is pickled."""
        if self._where is not None and vars(sys.modules[self._where[0]]).get(self._where[1]) is obj:
            return self._where[1]
        return ""

    def _function(self, function: types.FunctionType) -> Any:
        reference = self._reference(function, function.__module__, function.__qualname__)
        if reference is not None:
            return reference
        reduced = self._by_cloudpickle(function)
        if not isinstance(reduced, tuple):
            return reduced
        _, arguments, state, *more = reduced
        module = function.__globals__.get("__name__")
        namespace = getattr(sys.modules.get(module), "__dict__", None) if isinstance(module, str) else None
        if not isinstance(module, str) or namespace is not function.__globals__:
            return reduced  # its globals are those of no module: they travel with it
        slots = state[1]
        if getattr(function, "__type_params__", ()):
            slots["__type_params__"] = function.__type_params__  # type: ignore[attr-defined]
        names, slots["__globals__"] = slots["__globals__"], {}
        importable = not is_by_value(module)
        if not importable:
            for name in names:
                self._found.need(module, name)
            self._annotated(function, module)
            if looks_up(function.__code__):
                for name in vars(sys.modules[module]):
                    if not name.startswith("__"):
                        self._found.need(module, name, optional=True)
        own = self._own_name(function)
        make = definitions.make_function, (arguments[0], module, importable, arguments[4], own)
        by_keyword = slots["__kwdefaults__"] or {}
        defaults = self._shared([*enumerate(slots["__defaults__"] or ()), *by_keyword.items()])
        cells = self._shared(enumerate(map(_content, slots["__closure__"] or ())))
        if not defaults and not cells:
            return *make, state, *more
        slots["__kwdefaults__"] = {n: None if n in defaults else v for n, v in by_keyword.items()} or None
        slots["__defaults__"] = tuple(None if n in defaults else v for n, v in enumerate(slots["__defaults__"] or ()))
        if cells:
            slots["__closure__"] = tuple(
                types.CellType() if n in cells else cell for n, cell in enumerate(slots["__closure__"])
            )
        *_, setter = more
        return *make, (setter, state, defaults, cells), None, None, definitions.set_function_state

    def _class(self, cls: type) -> Any:
        reference = self._reference(cls, cls.__module__, cls.__qualname__) or _of_ctypes(cls) or _by_another_name(cls)
        if reference is not None:
            return reference
        reduced = self._by_cloudpickle(cls)
        if not isinstance(reduced, tuple) or len(reduced) < 6:
            return reduced
        make, arguments, (attributes, slots), items, pairs, setter = reduced
        if isinstance(cls.__module__, str) and is_by_value(cls.__module__):
            self._annotated(cls, cls.__module__)
        own = self._own_name(cls)
        where = (self._where[0], own) if self._where is not None and own else None
        *_, number, _ = arguments
        number = definitions.remember(number, cls)
        if issubclass(cls, enum.Enum):
            make, arguments, attributes, setter = enums.reduced(cls, attributes, setter) or (
                make, arguments, attributes, setter,
            )  # fmt: skip
        shared = self._shared(attributes.items())
        attributes = {n: v for n, v in attributes.items() if n not in shared and not is_note(n, v)}
        if issubclass(cls, enum.Enum):
            made: Any = (definitions.make_enum, (make, arguments, number, where))
        else:
            kind, name, bases, first, *_ = arguments
            if typing.NamedTuple in bases:  # it makes another class than the one that it stands for
                bases = cls.__bases__
            first = {**first, "__qualname__": cls.__qualname__}
            if "__slots__" in vars(cls):
                first = {**first, "__slots__": instances.slots_of(cls)}
                attributes = {n: v for n, v in attributes.items() if not isinstance(v, DESCRIPTORS)}
            if "_ctypes" in sys.modules:
                from clusterfutures.pickling import ctypes_types  # late: few programs have such types

                fields = ctypes_types.without_fields(cls, first, attributes)
                if fields is not None:
                    attributes, setter = fields, functools.partial(ctypes_types.set_state, setter)
            made = (definitions.make_class, (kind, name, bases, first, number, where))
        early, state = instances.state(cls, setter, attributes, slots)
        return *made, (early, setter, state, shared), items, pairs, definitions.set_class_state

    def _annotated(self, obj: Any, module: str) -> None:
        for name in annotated.names(obj):
            self._found.need(module, name, optional=True)

    def _module(self, module: types.ModuleType) -> Any:
        name = module.__name__
        if sys.modules.get(name) is not module or not is_by_value(name):
            return NotImplemented
        if name not in ("__main__", "__mp_main__"):  # of the program itself the node finds the rest when it is asked
            for other in vars(module):
                if not other.startswith("__"):
                    self._found.need(name, other, optional=True)
        return definitions.find_module, (name,)

    def _named(self, obj: Any, module: Any, path: str, by_value: Callable[[Any, str, str], Any]) -> Any:
        """What pickle refers to by name, though it is neither a function nor a class."""
        reference = self._reference(obj, module, path)
        if reference is not None or not isinstance(module, str) or not is_by_value(module):
            return reference or NotImplemented
        return by_value(obj, module, self._own_name(obj))

    def _sentinel(self, obj: Any) -> Any:
        """Pickle an object by the name that its ``__reduce__`` returns."""
        reduced = obj.__reduce_ex__(5)
        if not isinstance(reduced, str):
            return instances.reduced(obj, reduced) if self._may_be_in_its_class(type(obj)) else reduced
        module = getattr(obj, "__module__", None)
        if isinstance(module, str) and not is_by_value(module):
            return reduced  # a function of Cython, say: only its class is of a module that cannot be imported
        return self._reference(obj, module, reduced) or instances.only(obj)

    def _may_be_in_its_class(self, kind: type) -> bool:
        """False where the class is whole before its instances are made: it came as a definition, they are arguments."""
        inside = self._where is not None or "<locals>" in kind.__qualname__
        return inside and not hasattr(kind, "_fields") and kind not in self.dispatch_table

    def _shared(self, values: Iterable[tuple[Any, Any]]) -> dict[Any, definitions.Later]:
        """Those of a definition's values that are globals as well: both are one object on the node, too."""
        found: dict[Any, definitions.Later] = {}
        if self._where is not None:
            module, own = self._where
            for key, value in values:
                name = "" if _is_code(value) else self._found.name_of(module, value)
                if name and name != own:
                    self._found.need(module, name)
                    found[key] = definitions.Later(module, name)
        return found

    # -- what cloudpickle says --------------------------------------------------------

    def _by_cloudpickle(self, obj: Any) -> Any:
        module = getattr(obj, "__module__", None)
        if isinstance(module, str) and is_by_value(module) and module != "__main__" and module in sys.modules:
            cloudpickle.register_pickle_by_value(sys.modules[module])
        if sys.version_info < (3, 14):
            return super().reducer_override(obj)
        try:
            reduced = super().reducer_override(obj)
        except Exception:
            if not isinstance(obj, types.FunctionType) or annotated.can_evaluate(obj):
                raise
            reduced = super().reducer_override(annotated.evaluated(obj))
        return annotated.with_annotations(obj, reduced) if isinstance(obj, type) else reduced


class StatePickler(Pickler):
    """Pickles what a process begins with: globals, an initializer.  A lock of threads is a new one where it arrives."""

    dispatch_table: ClassVar[ChainMap[Any, Any]] = Pickler.dispatch_table.new_child(
        {
            type(threading.Lock()): lambda _lock: (threading.Lock, ()),
            type(threading.RLock()): lambda _lock: (threading.RLock, ()),
            contextvars.ContextVar: lambda variable: _context_variable(variable),
            logging.Logger: lambda log: (definitions.make_logger, (log.name, log.level, log.propagate, log.disabled)),
        }
    )

    def reducer_override(self, obj: Any) -> Any:
        """As documented for pickle."""
        if isinstance(obj, threading.local):
            return type(obj), ()
        return super().reducer_override(obj)


class _DefinitionPickler(StatePickler):
    """Pickles the value of one global."""

    def __init__(self, found: _Found, where: tuple[str, str]) -> None:
        super().__init__(io.BytesIO(), 5, found=found)
        self._where = where
        #: versions of other globals that the value refers to: with them, this one has to be made anew
        self.refers: list[bytes] = []

    def reducer_override(self, obj: Any) -> Any:
        """As documented for pickle: another global that stands somewhere in the value is that one on the node, too."""
        name = self._other_global(obj)
        return self._find(name) if name else super().reducer_override(obj)

    def _other_global(self, obj: Any) -> str:
        module, own = self._where or ("", "")
        name = "" if _is_code(obj) or type(obj) in NAMED else self._found.name_of(module, obj)
        if not name or name == own or type(obj) is object:
            return name if name != own else ""
        if not may_be_named(obj, vars(sys.modules[module]).get(own, self), self._found.names(module), is_by_value):
            return ""
        try:
            self.refers.append(self._found.pickled(module, name, obj)[0])
        except Exception:  # the error is to name the way to it
            return ""
        return name

    def _find(self, name: str) -> Any:
        module, _ = self._where or ("", "")
        self._found.need(module, name)
        return definitions.find, (module, name)

    def definition(self, value: Any) -> bytes:
        """The pickle of ``value`` alone; when another global is the same object, a reference to that."""
        module, own = self._where or ("", "")
        name = "" if _is_code(value) else self._found.name_of(module, value)
        if name and name != own:
            find, place = self._find(name)
            value = Call(find, *place)
        super(Pickler, self).dump(value)
        return self._body.getvalue()


class _Registered:
    """What the program has registered with ``copyreg``: classes, and functions of its own."""

    def __init__(self) -> None:
        self._count = -1
        self._own: list[tuple[type, Any]] = []

    def all(self) -> list[tuple[type, Any]]:
        """Look again when the table has grown."""
        table: dict[type, Any] = copyreg.dispatch_table
        if len(table) != self._count:
            self._count = len(table)
            functions = {cls: getattr(reduce, "__module__", None) for cls, reduce in table.items()}
            self._own = [(cls, table[cls]) for cls, module in functions.items() if module and is_by_value(module)]
        return self._own


_registered = _Registered()


class _Found:
    """The definitions that one pickle needs; found while it is written."""

    def __init__(self, are_known: bool = False, all_optional: bool = False) -> None:
        self._are_known = are_known
        self._all_optional = all_optional
        #: True when the receiver has to look some up elsewhere
        self.leaves_out = False
        #: the object that was come to last
        self.last: Any = None
        self._needed: dict[tuple[str, str], bool] = {}
        self._order: list[tuple[str, str]] = []
        self._asked: list[tuple[str, str]] = []  # by the definition that is pickled now
        self._bundle: definitions.Bundle = {}
        self._names: dict[str, dict[int, str]] = {}
        self._pickled: dict[tuple[str, str], tuple[bytes, bytes]] = {}

    def need(self, module: str, name: str, optional: bool = False) -> None:
        """A definition is needed; optional: it is left out when it cannot be pickled."""
        # A pickle says an object once: with the same strings each time it has the same bytes, and version.
        module, name = sys.intern(module), sys.intern(name)
        self._asked.append((module, name))
        if self._are_known and definitions.is_known((module, name)):
            self.leaves_out = True
        elif (module, name) not in self._needed and name in vars(sys.modules[module]):
            self._needed[module, name] = optional or self._all_optional
            self._order.append((module, name))

    def name_of(self, module: str, value: Any) -> str:
        """The first global of a module that has this very value; "" when there is none."""
        return self.names(module).get(id(value), "")

    def names(self, module: str) -> dict[int, str]:
        """The globals of a module by the identity of their values."""
        names = self._names.get(module)
        if names is None:
            names = self._names[module] = {}
            for name, other in reversed(vars(sys.modules[module]).items()):
                if type(other) not in ATOMS and not name.startswith("__"):
                    names[id(other)] = name
        return names

    def bundle(self) -> definitions.Bundle:
        """All definitions, those that others need among them."""
        self._fill(0)
        for cls, reduce in () if self._are_known else _registered.all():
            self._register(cls, reduce)
        return self._bundle

    def _register(self, cls: type, reduce: Any) -> None:
        """Have ``copyreg`` know there what the program has told it here, if the class can come there at all."""
        module, own = reduce.__module__, is_by_value(cls.__module__)
        if module not in self._bundle or (own and (cls.__module__, cls.__qualname__) not in self._needed):
            return
        begun, name = len(self._order), f"<copyreg {cls.__module__}.{cls.__qualname__}>"
        try:
            data = _DefinitionPickler(self, (module, name)).definition(Call(copyreg.pickle, cls, reduce))
        except Exception as error:
            logger.debug("clusterfutures: copyreg.pickle(%s) does not travel: %s", cls, error)
            return
        self._fill(begun)
        self._bundle[module][1].append((name, hashlib.blake2b(data, digest_size=8).digest(), data))

    def _fill(self, begin: int) -> None:
        for module, name in itertools.islice(self._order, begin, None):  # it grows
            try:
                entry = self._entry(module, name)
            except Exception as error:
                if not self._needed[module, name]:
                    raise
                logger.debug("clusterfutures: %s.%s does not travel: %s", module, name, error)
                continue
            self._bundle.setdefault(module, (_attributes(module), []))[1].append(entry)

    def pickled(self, module: str, name: str, value: Any) -> tuple[bytes, bytes]:
        """The version and the pickle of a definition."""
        made = self._pickled.get((module, name))
        if made is None:
            pickler = _DefinitionPickler(self, (module, name))
            data = pickler.definition(value)
            version = hashlib.blake2b(b"".join((data, *pickler.refers)), digest_size=8).digest()
            made = self._pickled[module, name] = version, data
        return made

    def _entry(self, module: str, name: str) -> tuple[str, bytes, bytes]:
        value = vars(sys.modules[module])[name]
        known = _known.get(value) if isinstance(value, types.FunctionType | type) else None
        if known is not None and known.place == (module, name) and all(part.holds() for part in known.parts):
            for place in known.needs:
                self.need(*place)
            return name, known.version, known.data
        self._asked = []
        version, data = self.pickled(module, name, value)
        parts = parts_of(value)
        if parts is not None:
            # what is not defined yet may be, before the definition is needed again
            later = [(module, other) for part in parts for other in part.names()]
            _known[value] = _Known((module, name), version, data, parts, tuple(dict.fromkeys(self._asked + later)))
        return name, version, data


def everything(module: str) -> bytes:
    """The definitions of a module that a call may ask for although it does not name them, as ``Pickler`` needs them.

    Functions, classes, modules, and plain data that is small.  What does not travel is left out.
    """
    found = _Found(all_optional=True)
    for name, value in list(vars(sys.modules[module]).items()):
        if type(value) in (str, bytes) and len(value) > _MOST_BYTES:
            continue
        if not name.startswith("__") and (_is_code(value) or type(value) in NAMED or _is_small(value)):
            found.need(module, name)
    return pickle.dumps(found.bundle(), 5)


def _is_small(value: Any) -> bool:
    """True for plain data that takes little."""
    if type(value) in (list, tuple, dict, set, frozenset):
        return len(value) <= _MOST_ITEMS
    return is_by_value(type(value).__module__)


class _Known(NamedTuple):
    """The definition of a function or class as it was pickled last, and what it depends on."""

    place: tuple[str, str]
    version: bytes
    data: bytes
    parts: list[Part]
    needs: tuple[tuple[str, str], ...]


_known: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()


def dumps(
    value: Any,
    protocol: int | None = None,
    buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    result: bool = False,
) -> bytes:
    """As ``cloudpickle.dumps``; result: as for ``Pickler``."""
    file = io.BytesIO()
    Pickler(file, protocol, buffer_callback, result=result).dump(value)
    return file.getvalue()


def culprit(value: Any) -> Any:
    """The object in ``value`` that keeps it from being pickled, found by another try; None when that succeeds."""
    pickler = Pickler(io.BytesIO(), 5, lambda _buffer: False, result=True)
    try:
        pickler.dump(value)
    except Exception:
        return pickler.culprit
    return None


_importable: dict[str, tuple[Any, bool]] = {}


def is_by_value(name: str) -> bool:
    """True for a module that no node can import under this name: what it defines travels."""
    if name in ("__main__", "__mp_main__"):
        return True
    module = sys.modules.get(name)
    known = _importable.get(name)
    if known is None or known[0] is not module:
        found = module is None or not isinstance(module, types.ModuleType) or _is_found(module)
        known = _importable[name] = (module, found)
    return not known[1] or _is_registered(name)


def ask_for(modules: Any) -> None:
    """Have everything that these modules define travel: a module, its name, or several.  Raises OptionError.

    From then on this holds for all executors of the program.
    """
    from clusterfutures.errors import OptionError

    several = (modules,) if isinstance(modules, str | types.ModuleType) else modules
    if not isinstance(several, list | tuple | set | frozenset):
        raise OptionError(f"by_value={modules!r} cannot be used: give a list of modules, as by_value=[mymodule]")
    for given in several:
        module, why = _module_named(given)
        if module is None:
            raise OptionError(f"by_value={modules!r} cannot be used: {given!r} {why}")
        if module.__name__ not in ("__main__", "__mp_main__"):  # they always travel
            cloudpickle.register_pickle_by_value(module)


def _module_named(given: Any) -> tuple[types.ModuleType | None, str]:
    """The module, or None and what is wrong with it."""
    module = given
    if isinstance(given, str):
        try:
            module = importlib.import_module(given)
        except Exception as error:  # whatever its code raises, or a name like ".x"
            return None, f"cannot be imported here ({type(error).__name__}: {error}): correct the name, or leave it out"
    if not isinstance(module, types.ModuleType):
        return None, "is no module: give a module or its name"
    name = module.__name__
    if sys.modules.get(name) is not module:
        return None, "is not the module that sys.modules has under its name: put it there first"
    if name.partition(".")[0] in {
        *sys.stdlib_module_names,
        *sys.builtin_module_names,
        "clusterfutures",
        "cloudpickle",
    } - {"__main__"}:
        return None, "is there on every node: leave it out"
    if not str(getattr(module, "__file__", None) or ".py").endswith((".py", ".pyc", ".ipynb")):
        return None, "is an extension module, which has no Python code that could travel: install it for the nodes"
    return module, ""


def _is_registered(name: str) -> bool:
    registered = cloudpickle.list_registry_pickle_by_value()
    return bool(registered) and any(name == other or name.startswith(other + ".") for other in registered)


def _is_found(module: types.ModuleType) -> bool:
    """True when the import system finds this very module by its name, were it not loaded yet."""
    name = module.__name__
    spec = getattr(module, "__spec__", None)
    if name.partition(".")[0] in {*sys.builtin_module_names, *sys.stdlib_module_names}:
        return True  # collections.abc of Python 3.13 is where no finder looks
    parent = name.rpartition(".")[0]
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    if parent and path is None:
        return parent in sys.modules and spec is not None  # made by its parent, as os.path is
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(name, path)
        except Exception:  # a finder of somebody else's; the next one may do
            continue
        if found is not None:
            return spec is None or found.origin == spec.origin or spec.origin is None
    return False


def _by_another_name(cls: type) -> tuple[Any, ...] | None:
    """How to pickle a class that its module has under another name than the class says, as ``_thread`` has its lock."""
    module = sys.modules.get(cls.__module__) if isinstance(cls.__module__, str) else None
    if module is None or is_by_value(cls.__module__) or "." in cls.__qualname__:
        return None
    if getattr(module, cls.__qualname__, None) is cls:
        return None
    name = next((name for name, value in list(vars(module).items()) if value is cls), "")
    return (getattr, (module, name)) if name else None


def _of_ctypes(cls: type) -> tuple[Any, ...] | None:
    """How to pickle a type that ctypes has made of others; None for any other class."""
    if "_ctypes" not in sys.modules:
        return None
    from clusterfutures.pickling import ctypes_types  # late: few programs have such types

    return ctypes_types.made_again(cls)


def _is_code(value: Any) -> bool:
    """True for what is referred to by its own name wherever it stands."""
    return type(value) in ATOMS or isinstance(value, types.FunctionType | type | types.ModuleType)


def _attributes(module: str) -> dict[str, Any]:
    """What a module says of itself."""
    found = vars(sys.modules[module])
    names = ("__name__", "__file__", "__package__", "__doc__", "__path__")
    said = {n: found[n] for n in names if type(found.get(n)) in (str, list)}
    return said | {"__argv__": list(sys.argv)} if module == "__main__" else said


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _cached_property(prop: functools.cached_property[Any]) -> Any:
    return functools.cached_property, (prop.func,), {"attrname": prop.attrname, "__doc__": prop.__doc__}


def _refuse(end: Any) -> Any:
    """An end of a pipe is a number of a file descriptor; what has that number elsewhere would be used, and closed."""
    raise TypeError(f"cannot pickle {type(end).__module__ + '.' + type(end).__qualname__!r} object")


def _file(file: io.TextIOWrapper) -> Any:
    """Stdout and its like are those of the process there.  cloudpickle would send a copy of what another file has."""
    for name in ("stdin", "stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise TypeError(f"cannot pickle {type(file).__module__ + '.' + type(file).__qualname__!r} object")


def _context_variable(variable: contextvars.ContextVar[Any]) -> Any:
    """A new one, with the default of the old one."""
    try:
        default = contextvars.Context().run(variable.get)
    except LookupError:
        return contextvars.ContextVar, (variable.name,)
    return functools.partial(contextvars.ContextVar, default=default), (variable.name,)
