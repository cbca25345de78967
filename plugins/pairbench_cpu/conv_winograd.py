"""A 3x3 convolution in Winograd's form F(2x2, 3x3): 16 products for four pixels where the plain form takes 36.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016. The batch is last, (C, H, W, N).
Each tile of 4x4 pixels overlaps the next by two and becomes 16 numbers, each number of the answer's channels is a
matrix product over those of the image's channels, and 16 of them become 2x2 pixels of the answer. The gradients take
the same ways back. Height and width of the answer are even.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from pairbench_cpu.ir_builder import Function, Shape, Values
from pairbench_cpu.winograd_tiles import (
    TILE,
    each_vector,
    input_transform,
    input_transform_grad,
    output_transform,
    output_transform_grad,
    pixel,
    products,
    tiles,
)
from pairbench_cpu.winograd_weight_grad import sums


def winograd(module: ir.Module, shape: Shape) -> None:
    """out (K, O, Q, N) of x (C, H, W, N), u (16, K, C) and b (K), then ReLU and a mask (K, N), where there are.

    workspace: room for 16 tables of a block of images and all channels of both sides, and two vectors more in each.
    """
    code = Function(
        module,
        "winograd",
        ("x", "u", "b", "mask", "workspace", "out"),
        ("channels", "height", "width", "count", "outputs", "relu"),
        shape,
    )
    x, u, b, mask, workspace, out, channels, height, width, count, outputs, relu = code.named.values()
    high, broad = code.sub(height, 2), code.sub(width, 2)
    has_mask, has_relu = code.given(mask), code.build.icmp_signed("!=", relu, code.whole(0))
    multiplied = products(code, u, outputs, channels, (channels, code.whole(1)))

    def block(first: ir.Value, vectors: int) -> None:
        seen, made = multiplied.panels(workspace, vectors)

        def tile(y: ir.Value, column: ir.Value) -> None:
            corner = (y, column, first)
            seen.take(x, corner, TILE, (height, width, count), input_transform)
            multiplied.multiply(seen, made)

            def write(value: ir.Value, target: ir.Value, k: ir.Value, image: ir.Value, *_: int) -> None:
                bias = code.splat(code.scalar_at(code.address(b, k)))
                value = code.rectified(code.build.fadd(value, bias), has_relu)
                with code.build.if_else(has_mask) as (masked, plain):
                    with masked:
                        factor = code.images(code.address(mask, code.at((k, image), count)), 1)[0]
                        code.store([code.build.fmul(value, factor)], target)
                    with plain:
                        code.store([value], target)

            made.give(out, corner, (high, broad, count), output_transform, write)

        tiles(code, high, broad, tile)

    code.blocks_of_images(count, block)
    multiplied.end()
    code.build.ret_void()


def winograd_to_images(module: ir.Module, shape: Shape) -> None:
    """dx (C, H, W, N) of g (K, O, Q, N) and u (16, K, C).

    Where there is a gate (C, H, W, N), nothing passes at what is zero in it or below. workspace is as in `winograd`.
    """
    code = Function(
        module,
        "winograd_to_images",
        ("g", "u", "gate", "workspace", "dx"),
        ("channels", "height", "width", "count", "outputs"),
        shape,
    )
    g, u, gate, workspace, dx, channels, height, width, count, outputs = code.named.values()
    high, broad = code.sub(height, 2), code.sub(width, 2)
    multiplied = products(code, u, channels, outputs, (code.whole(1), channels))

    def seen(y: ir.Value, column: ir.Value, i: int, j: int) -> ir.Value:
        """Whether an earlier tile has written its share to this pixel."""
        found = ir.Constant(ir.IntType(1), 0)
        for start, offset in ((y, i), (column, j)):
            if offset < 2:
                found = code.build.or_(found, code.build.icmp_signed(">", start, code.whole(0)))
        return found

    def block(first: ir.Value, vectors: int) -> None:
        back, made = multiplied.panels(workspace, vectors)

        def tile(y: ir.Value, column: ir.Value) -> None:
            corner = (y, column, first)
            back.take(g, corner, 2, (high, broad, count), output_transform_grad)
            multiplied.multiply(back, made)

            def write(value: ir.Value, target: ir.Value, _c: ir.Value, _image: ir.Value, i: int, j: int) -> None:
                before = code.build.select(seen(y, column, i, j), code.images(target, 1)[0], code.zero())
                code.store([code.build.fadd(before, value)], target)

            made.give(dx, corner, (height, width, count), input_transform_grad, write)

        tiles(code, high, broad, tile)

        def gated(row: ir.Value, vector: ir.Value) -> None:
            entry = code.at((row, code.add(first, vector)), count)
            target = code.address(dx, entry)
            shown = code.build.fcmp_unordered(">", code.images(code.address(gate, entry), 1)[0], code.zero())
            code.store([code.build.select(shown, code.images(target, 1)[0], code.zero())], target)

        with code.build.if_then(code.given(gate)):
            each_vector(code, code.mul(channels, code.mul(height, width)), vectors, gated)

    code.blocks_of_images(count, block)
    multiplied.end()
    code.build.ret_void()


def winograd_to_weights(module: ir.Module, shape: Shape) -> None:
    """du (16, K, P) += what x (C, H, W, N) and g (K, O, Q, N) give for u; P is C as `sums` pads it, the rest is waste.

    `images` at once, whole vectors, and `lines` of tiles at once. workspace: room for 4 tables of those images and
    tiles and all channels of both sides, and a vector more in each.
    """
    code = Function(
        module,
        "winograd_to_weights",
        ("x", "g", "workspace", "du"),
        ("channels", "height", "width", "count", "outputs", "images", "lines"),
        shape,
    )
    x, g, workspace, du, channels, height, width, count, outputs, group, lines = code.named.values()
    high, broad, build = code.sub(height, 2), code.sub(width, 2), code.build
    across, down = build.sdiv(broad, code.whole(2)), build.sdiv(high, code.whole(2))
    found = sums(code, workspace, channels, outputs, du)

    def piece(first: ir.Value, images: ir.Value, top: ir.Value, tall: ir.Value, i: ir.Value) -> None:
        """What the row `i` of the 4x4 numbers of some tiles gives."""
        found.begin(code.mul(tall, across), images)
        upper, lower = code.choose(i, (0, 1, 2, 1)), code.choose(i, (2, 2, 1, 3))
        sign = code.splat(code.choose_number(i, (-1, 1, -1, -1)))
        factors = [code.splat(code.choose_number(i, own)) for own in ((1, 1, 1, 0), (0, 1, -1, -1))]

        def of_images(c: ir.Value, y: ir.Value, column: ir.Value, image: ir.Value) -> Values:
            sizes, rows = (height, width, count), []
            for j in range(TILE):
                one = pixel(code, x, (c, code.add(y, upper), column, image), (0, j), sizes)
                other = pixel(code, x, (c, code.add(y, lower), column, image), (0, j), sizes)
                rows.append(code.multiply_add(sign, other, one))
            return input_transform(code, rows)

        def of_gradients(k: ir.Value, y: ir.Value, column: ir.Value, image: ir.Value) -> Values:
            rows = []
            for j in range(2):
                one, other = (
                    pixel(code, g, (k, y, column, image), (number, j), (high, broad, count)) for number in range(2)
                )
                rows.append(code.multiply_add(factors[1], other, build.fmul(factors[0], one)))
            return output_transform_grad(code, rows)

        def keep(side: int, row: ir.Value, numbers: Callable[..., Values]) -> None:
            def tile(line: ir.Value, place: ir.Value) -> None:
                y, column = code.mul(code.add(top, line), 2), code.mul(place, 2)

                def vector(image: ir.Value, odd: int) -> None:
                    values = numbers(row, y, column, code.add(first, image))
                    found.keep(side, row, code.at((line, place), across), image, odd, values)

                found.each(vector)

            code.grid(tall, across, tile)

        code.loop(0, channels, 1, lambda c: keep(0, c, of_images))
        code.loop(0, outputs, 1, lambda k: keep(1, k, of_gradients))
        found.add(i)

    def images(number: ir.Value) -> None:
        first = code.mul(number, group)
        some = code.least(group, code.sub(count, first))

        def rows(number: ir.Value) -> None:
            top = code.mul(number, lines)
            tall = code.least(lines, code.sub(down, top))
            code.loop(0, code.whole(TILE), 1, lambda i: piece(first, some, top, tall, i))

        code.loop(0, code.parts(down, lines), 1, rows)

    code.loop(0, code.parts(count, group), 1, images)
    found.end()
    build.ret_void()
