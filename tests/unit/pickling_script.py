"""A user's script: what it defines goes to another process, as tasks and arguments do, and comes back, as results do.

Run as `__main__` it prints, as JSON, what was wrong with each of `CASES`: what is sent, and what has to hold of it on both sides.
"""

import abc
import collections
import dataclasses
import datetime
import enum
import functools
import json
import pickle
import subprocess
import sys
import typing
from typing import Any, Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import numpy as np

import headrace as hr

T = TypeVar("T")
P = typing.ParamSpec("P")
UserId = NewType("UserId", int)


@functools.lru_cache
def table(n):
    return n * n


@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@functools.lru_cache(maxsize=3, typed=True)
def typed(n):
    """A docstring."""
    return n


def calls_cached(n):
    return table(n) + 1


def takes_id(user: UserId) -> UserId:
    return user


@hr.task
def double(x):
    return 2 * x


def calls_task(x):
    return double(x)


@functools.singledispatch
def kind_of(x):
    return "other"


@kind_of.register
def _(x: int):
    return "int"


@kind_of.register(list)
def _(x):
    return [kind_of(each) for each in x]


class Methods:
    @functools.lru_cache  # noqa: B019
    def cached(self, n):
        return n

    @staticmethod
    @functools.cache
    def static(n):
        return n

    @classmethod
    @functools.cache
    def of_class(cls, n):
        return n

    @functools.cached_property
    def lazy(self):
        return 42

    @functools.singledispatchmethod
    def kind(self, x):
        return "other"

    @kind.register
    def _(self, x: int):
        return "int"

    seven = functools.partialmethod(cached, 7)


class Point:
    __slots__ = ("lat", "lon")

    def __init__(self, lat, lon):
        self.lat, self.lon = lat, lon


class Point3(Point):
    __slots__ = ("z",)

    def __init__(self):
        super().__init__(1, 2)
        self.z = 3


class Loose(Point):
    pass


class Private:
    __slots__ = ("__dict__", "__weakref__", "__x")

    def __init__(self):
        self.__x = 3
        self.free = 4

    def x(self):
        return self.__x


class OneSlot:
    __slots__ = "only"

    def __init__(self):
        self.only = 5


class DocumentedSlots:
    __slots__ = {"a": "its documentation"}

    def __init__(self):
        self.a = 5

    def another(self):
        return DocumentedSlots()


class GenericSlots(Generic[T]):
    __slots__ = ("v",)

    def __init__(self):
        self.v = 5


class AbstractSlots(abc.ABC):  # noqa: B024
    __slots__ = ("v",)

    def __init__(self):
        self.v = 5


class Meta(type):
    def __new__(cls, name, bases, namespace, **_):
        return super().__new__(cls, name, bases, namespace)


class MetaSlots(metaclass=Meta):
    __slots__ = ("v",)

    def __init__(self):
        self.v = 5


class DictSlots(dict):
    __slots__ = ("v",)

    def __init__(self, **given):
        super().__init__(given)
        self.v = 5


class StateSlots:
    __slots__ = ("v",)

    def __init__(self):
        self.v = 5

    def __getstate__(self):
        return {"v": self.v}

    def __setstate__(self, state):
        self.v = state["v"]


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int
    b: float = 2.0
    c: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, kw_only=True)
class Base:
    a: int = 1


@dataclasses.dataclass(slots=True)
class Derived(Base):
    b: int = 2


@dataclasses.dataclass(frozen=True)
class FrozenPlain:
    a: int


class Color(enum.Enum):
    RED = 1
    GREEN = 2
    CRIMSON = 1


class Planet(enum.Enum):
    EARTH = (5.97, 6.37)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius

    @property
    def density(self):
        return self.mass / self.radius


class Coord(bytes, enum.Enum):
    def __new__(cls, value, label):
        made = bytes.__new__(cls, [value])
        made._value_, made.label = value, label
        return made

    PX = (0, "P.X")
    PY = (1, "P.Y")


class Perm(enum.Flag):
    R = enum.auto()
    W = enum.auto()
    RW = R | W


class Kept(enum.IntFlag, boundary=enum.KEEP):
    A = 1
    B = 4
    C = 11


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    A = enum.auto()


class Lower(enum.Enum):
    def _generate_next_value_(name, start, count, last_values):
        return name.lower()

    X = enum.auto()
    Y = enum.auto()

    @classmethod
    def _missing_(cls, value):
        return cls.X

    @staticmethod
    def other():
        return Lower.Y


class Unhashable(enum.Enum):
    L = [1, 2]  # noqa: RUF012


@dataclasses.dataclass
class Animal:
    size: str
    legs: int = 4


class Creature(Animal, enum.Enum):
    BEETLE = "small", 6
    DOG = ("medium",)


class Day(datetime.date, enum.Enum):
    NEW_YEAR = 2020, 1, 1


class Pair(tuple, enum.Enum):
    A = (1, 2)


class Record(NamedTuple):
    a: int
    b: str = "x"

    def both(self):
        return self.a, self.b


class GenericRecord(NamedTuple, Generic[T]):
    a: T


Plain = collections.namedtuple("Plain", "p q")


class Total(Plain):
    __slots__ = ()

    def total(self):
        return self.p + self.q


class Box(Generic[T]):
    def __init__(self, v):
        self.v = v


class IntBox(Box[int]):
    pass


class WithParameters(Generic[P]):
    pass


class Keys(TypedDict):
    a: int


class Proto(Protocol[T]):
    def f(self) -> T: ...


class Implementation(Proto[int]):
    def f(self):
        return 5


class Abstract(abc.ABC):
    @abc.abstractmethod
    def f(self): ...


class Concrete(Abstract):
    def f(self):
        return 5


class Outer:
    class Inner:
        __slots__ = ("v",)

        def __init__(self):
            self.v = 5


class Registry:
    known: typing.ClassVar[list[Any]] = []

    def __init_subclass__(cls, /, tag="none", **_):
        cls.known.append(cls)
        cls.tag = tag


class Registered(Registry, tag="a"):
    pass


class Named:
    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner=None):
        return self.name


class HasNamed:
    d = Named()


@functools.total_ordering
class Ordered:
    def __init__(self, v):
        self.v = v

    def __eq__(self, other):
        return self.v == other.v

    def __lt__(self, other):
        return self.v < other.v


class Field(np.ndarray):
    pass


class TwoArguments(Exception):
    def __init__(self, a, b):
        super().__init__(a)
        self.b = b


class Unreadable(ValueError):
    def __init__(self, path, *, code=3):
        super().__init__(f"cannot read {path}")
        self.path, self.code = path, code


class Missing(OSError):
    def __init__(self, path):
        super().__init__(2, "no such file", path)
        self.extra = 1


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    a: int


NO_DICT = "not hasattr(v, '__dict__')"

CASES: dict[str, tuple[Any, str]] = {
    "lru_cache": (table, "v(3) == 9 and v.cache_info().misses == 1"),
    "a recursive cache": (fib, "v(30) == 832040 and v.cache_info().hits > 0"),
    "the parameters of a cache": (
        typed,
        "v.cache_parameters() == {'maxsize': 3, 'typed': True} and v.__name__ == 'typed' and v.__doc__ == 'A docstring.'",
    ),
    "a function that calls a cached one": (calls_cached, "v(3) == 10"),
    "partial": (functools.partial(table, 4), "v() == 16"),
    "a cache of an imported function": (functools.cache(json.loads), "v('[1]') == [1]"),
    "singledispatch": (kind_of, "v(2) == 'int' and v([1, 'a']) == ['int', 'other'] and v.__name__ == 'kind_of'"),
    "methods": (
        Methods(),
        "(v.cached(3), v.static(2), v.of_class(1), v.lazy, v.kind(1), v.kind('a'), v.seven()) == (3, 2, 1, 42, 'int', 'other', 7)",
    ),
    "hr.task": (calls_task, "v(2) == 4"),
    "NewType": (UserId, "v(3) == 3"),
    "a function annotated with a NewType": (takes_id, "v(3) == 3"),
    "slots": (Point(1, 2), f"v.lat == 1 and {NO_DICT}"),
    "inherited slots": (Point3(), f"(v.lat, v.lon, v.z) == (1, 2, 3) and type(v)().z == 3 and {NO_DICT}"),
    "slots and a dict": (Loose(1, 2), "v.lat == 1 and v.__dict__ == {}"),
    "private slots, dict and weakref": (Private(), "v.x() == 3 and v.free == 4 and __import__('weakref').ref(v)() is v"),
    "one slot": (OneSlot(), f"v.only == 5 and {NO_DICT}"),
    "slots with documentation": (DocumentedSlots(), f"v.a == 5 and type(v.another()) is type(v) and {NO_DICT}"),
    "slots of a generic": (GenericSlots(), f"v.v == 5 and {NO_DICT}"),
    "slots of an abstract class": (AbstractSlots(), f"v.v == 5 and {NO_DICT}"),
    "slots with a metaclass": (MetaSlots(), f"v.v == 5 and {NO_DICT}"),
    "slots of a dict": (DictSlots(a=1), f"v['a'] == 1 and v.v == 5 and {NO_DICT}"),
    "slots with a state": (StateSlots(), f"v.v == 5 and {NO_DICT}"),
    "slots of a nested class": (Outer.Inner(), "v.v == 5 and type(v).__qualname__ == 'Outer.Inner'"),
    "a nested class": (Outer, "v.Inner().v == 5"),
    "a frozen dataclass with slots": (Frozen(1), f"v == type(v)(1) and v.b == 2.0 and {NO_DICT}"),
    "dataclasses with slots": (Derived(a=3), f"v == type(v)(a=3) and v.b == 2 and {NO_DICT}"),
    "a frozen dataclass": (FrozenPlain(4), "v.a == 4"),
    "an enumeration": (Color, "v.CRIMSON is v['CRIMSON'] is v(1) is v.RED and len(v) == 2"),
    "a member": (Color.RED, "v is type(v).RED and v.name == 'RED'"),
    "members with __init__": (Planet.EARTH, "v.mass == 5.97 and v.density < 1 and type(v)((5.97, 6.37)) is v"),
    "members with __new__": (Coord.PY, "v == b'\\x01' and v.value == 1 and v.label == 'P.Y' and type(v)(1) is v"),
    "flags": (Perm.RW, "type(v)['RW'] is v is type(v).R | type(v).W and type(v).R in v"),
    "flags with a boundary": (Kept.C, "type(v)['C'] is v and v | 64 == 75"),
    "IntEnum": (Level.HIGH, "v == 2 and v is type(v)(2)"),
    "StrEnum": (Word.A, "v == 'a'"),
    "auto values": (Lower.Y, "v.value == 'y' and type(v)('?').name == 'X' and v.other() is v"),
    "unhashable values": (Unhashable.L, "v.value == [1, 2] and type(v)([1, 2]) is v"),
    "members of a dataclass": (Creature.BEETLE, "v.legs == 6 and v.size == 'small' and type(v)['DOG'].legs == 4"),
    "members of a date": (Day.NEW_YEAR, "v.year == 2020 and v is type(v).NEW_YEAR"),
    "members of a tuple": (Pair.A, "v == (1, 2) and len(v) == 2"),
    "NamedTuple": (Record(1), "v.both() == (1, 'x') and v == (1, 'x')"),
    "a generic NamedTuple": (GenericRecord(1), "v.a == 1"),
    "namedtuple": (Plain(1, 2), "v.p == 1"),
    "a subclass of a namedtuple": (Total(1, 2), f"v.total() == 3 and {NO_DICT}"),
    "a generic": (IntBox(3), "v.v == 3"),
    "an alias of a generic": (Box[int], "v(3).v == 3"),
    "ParamSpec": (WithParameters(), "type(v).__parameters__"),
    "TypedDict": (Keys, "v(a=1) == {'a': 1}"),
    "a protocol": (Implementation(), "v.f() == 5"),
    "an abstract class": (Concrete(), "v.f() == 5"),
    "__init_subclass__": (Registered(), "v.tag == 'a' and v.known == [type(v)]"),
    "__set_name__": (HasNamed(), "v.d == 'd'"),
    "total_ordering": (Ordered(1), "v >= type(v)(0)"),
    "a subclass of an array": (np.zeros(3).view(Field), "v.sum() == 0"),
    "an exception of two arguments": (TwoArguments(1, 2), "v.b == 2 and v.args == (1,)"),
    "an exception that makes its message": (Unreadable("f", code=4), "str(v) == 'cannot read f' and v.code == 4"),
    "an exception of Python's": (Missing("f"), "v.errno == 2 and v.filename == 'f' and v.extra == 1"),
    "a frozen exception": (FrozenError(3), "v.a == 3"),
}

READER = """
import pickle, sys, traceback
from headrace.values import encode
answers = {}
for name, (pickled, condition) in pickle.load(sys.stdin.buffer).items():
    try:
        v = pickle.loads(pickled)
        assert eval(condition), "it is not as it was"
        answers[name] = encode(v).tobytes()
    except Exception:
        answers[name] = traceback.format_exc(limit=-2)
sys.stdout.buffer.write(pickle.dumps(answers))
"""


def there_and_back() -> dict[str, str]:
    """What is wrong with each case, in words; empty where nothing is."""
    from headrace.pickling import by_value
    from headrace.pickling.portable import dumps

    before = {name: dict(vars(_class(value))) for name, (value, _) in CASES.items()}
    given = {}
    for name, (value, condition) in CASES.items():
        given[name] = (by_value.dumps if isinstance(value, Exception) else dumps)(value), condition
    answered = subprocess.run([sys.executable, "-c", READER], input=pickle.dumps(given), capture_output=True, check=True).stdout
    return {name: _problem(name, answer, before[name]) for name, answer in pickle.loads(answered).items()}


def _problem(name: str, answer: bytes | str, before: dict[str, Any]) -> str:
    from headrace.values import decode

    if isinstance(answer, str):
        return f"there: {answer}"
    sent, condition = CASES[name]
    try:
        v = decode(answer)
        if not eval(condition, {"v": v}):
            return "what came back is not as it was"
        own = _class(sent)
        if own.__module__ == "__main__" and _class(v) is not own:
            return "what came back is of another class"
        after = dict(vars(own))
        changed = [each for each in {**before, **after} if after.get(each) is not before.get(each) and each != "__slotnames__"]
        return f"its class was changed here: {changed}" if changed else ""
    except Exception as error:
        return f"here: {type(error).__name__}: {error}"


def _class(value: Any) -> type[Any]:
    return value if isinstance(value, type) else type(value)


if __name__ == "__main__":
    print(json.dumps(there_and_back()))
