"""Tiles of registers, for the products of matrices in the compiled loop (see `_fused`): many sums at once, each for several points.

LLVM finds by itself that a simple loop can compute several points at once. In a loop that keeps many sums it does not find it. So here
the numbers of neighbouring points are put into one register of the machine, and the compiler is told so. A tile is a tuple of registers.
Two tiles are multiplied number by number, each register of one with each of the other: what is read once serves several products. The sums
of these products are a tile too, and stay in registers until they are complete.
"""

from typing import Any

import llvmlite.binding
import numba as nb
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

intrinsic: Any = nb.extending.intrinsic  # what it makes is called without the first argument

#: What the compiler may do. Sums may not be reordered and NaN may not be assumed away: a seed that diverges has to be seen
FLAGS = ("contract", "nsz", "arcp")


def register_size() -> int:
    """Bytes of a register: those of AVX-512, of AVX, or 16."""
    try:
        features = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:  # on some machines LLVM can't tell
        return 16
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


REGISTER = register_size()
TILE = 2 if REGISTER == 32 else 4  # lines of a tile: AVX has half as many registers as the others


class Register(types.Type):
    """Neighbouring numbers, of the size of a register."""

    def __init__(self, real):
        self.real, self.count = real, REGISTER * 8 // real.bitwidth
        super().__init__(name=f"Register({real} x {self.count})")


@register_model(Register)
class RegisterModel(models.PrimitiveModel):
    """A register for LLVM: a vector."""

    def __init__(self, manager, register):
        super().__init__(manager, register, ir.VectorType(manager[register.real].get_value_type(), register.count))


def places(context, builder, array, value, at, steps):
    """Pointers to the places `at`, and the steps after it, of an array, its elements one after the other."""
    data = context.make_array(array)(context, builder, value).data
    return [builder.gep(data, [builder.add(at, step)]) for step in steps]


def multiples(builder, step, count):
    """0, step, 2 step, ..."""
    return [builder.mul(step, ir.Constant(step.type, i)) for i in range(count)]


@intrinsic
def load(typing, array, at, step, tile):
    """The registers at `at`, `at + step`, ... of an array, as many as the tuple `tile` is long."""

    def code(context, builder, signature, values):
        value, at, step, _ = values
        kind = context.get_value_type(Register(array.dtype)).as_pointer()
        pointers = places(context, builder, array, value, at, multiples(builder, step, len(tile)))
        found = [builder.load(builder.bitcast(each, kind), align=array.dtype.bitwidth // 8) for each in pointers]
        return cgutils.pack_array(builder, found)

    return types.UniTuple(Register(array.dtype), len(tile))(array, at, step, tile), code


@intrinsic
def spread(typing, array, at, step, tile):
    """Registers, each full of one number: that at `at`, at `at + step`, ... of an array."""

    def code(context, builder, signature, values):
        value, at, step, _ = values
        kind, whole = context.get_value_type(Register(array.dtype)), ir.IntType(32)
        nothing, zeros = ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(whole, kind.count), [0] * kind.count)
        pointers = places(context, builder, array, value, at, multiples(builder, step, len(tile)))
        firsts = [builder.insert_element(nothing, builder.load(each), whole(0)) for each in pointers]
        return cgutils.pack_array(builder, [builder.shuffle_vector(first, nothing, zeros) for first in firsts])

    return types.UniTuple(Register(array.dtype), len(tile))(array, at, step, tile), code


def multiplied(builder, x, y):
    """x_i y_j, line by line."""
    x, y = (cgutils.unpack_tuple(builder, tile) for tile in (x, y))
    return [builder.fmul(a, b, flags=FLAGS) for a in x for b in y]


@intrinsic
def products(typing, x, y):
    """x_i y_j of two tiles, line by line."""
    return types.UniTuple(x.dtype, len(x) * len(y))(x, y), lambda context, builder, signature, values: cgutils.pack_array(
        builder, multiplied(builder, *values)
    )


@intrinsic
def add_products(typing, sums, x, y):
    """The sums, and x_i y_j of two tiles added to them."""

    def code(context, builder, signature, values):
        pairs = zip(cgutils.unpack_tuple(builder, values[0]), multiplied(builder, *values[1:]), strict=True)
        return cgutils.pack_array(builder, [builder.fadd(total, product, flags=FLAGS) for total, product in pairs])

    return sums(sums, x, y), code


@intrinsic
def store(typing, array, at, down, across, tile, sums):
    """Sums of products x_i y_j, into an array at `at + i down + j across`; `tile` is as long as y."""

    def code(context, builder, signature, values):
        value, at, down, across, _, each = values
        lines, columns = (multiples(builder, down, len(sums) // len(tile)), multiples(builder, across, len(tile)))
        pointers = places(context, builder, array, value, at, [builder.add(a, b) for a in lines for b in columns])
        for register, pointer in zip(cgutils.unpack_tuple(builder, each), pointers, strict=True):
            builder.store(register, builder.bitcast(pointer, register.type.as_pointer()), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, at, down, across, tile, sums), code
