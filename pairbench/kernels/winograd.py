"""A 3x3 convolution in Winograd's form F(2x2, 3x3): 16 products for four pixels where the plain form takes 36.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2016. The batch is last, (C, H, W, N).
Each tile of 4x4 pixels overlaps the next by two and becomes 16 numbers, each number of the answer's channels is a
matrix product over those of the image's channels, and 16 of them become 2x2 pixels of the answer. The gradients take
the same ways back. Height and width of the answer are even.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from pairbench.kernels.code import Function, Shape, Values

TILE = 4
# Vectors of one table that are summed at once with those of another, for the weights.
SUMMED = 4

Triple = tuple[ir.Value, ir.Value, ir.Value]
Along = Callable[[Function, Values], Values]


def winograd(module: ir.Module, shape: Shape) -> None:
    """out (K, O, Q, N) of x (C, H, W, N), u (16, K, C) and b (K), then ReLU and a mask (K, N), where there are.

    near: room for 16 tables of a block of images and all channels of both sides, and two vectors more in each.
    """
    code = Function(
        module,
        "winograd",
        ("x", "u", "b", "mask", "near", "out"),
        ("channels", "height", "width", "count", "outputs", "relu"),
        shape,
    )
    x, u, b, mask, near, out, channels, height, width, count, outputs, relu = code.named.values()
    high, broad = code.sub(height, 2), code.sub(width, 2)
    has_mask, has_relu = code.given(mask), code.build.icmp_signed("!=", relu, code.whole(0))

    def block(first: ir.Value, vectors: int) -> None:
        seen = _Panel(code, near, channels, vectors)
        made = _Panel(code, seen.end, outputs, vectors)

        def tile(y: ir.Value, column: ir.Value) -> None:
            corner = (y, column, first)
            seen.take(x, corner, TILE, (height, width, count), _into)
            _product(code, u, (channels, code.whole(1)), made, seen)

            def write(value: ir.Value, target: ir.Value, k: ir.Value, image: ir.Value, *_: int) -> None:
                bias = code.spread(code.scalar_at(code.address(b, k)))
                value = code.rectified(code.build.fadd(value, bias), has_relu)
                with code.build.if_else(has_mask) as (masked, plain):
                    with masked:
                        factor = code.images(code.address(mask, code.at((k, image), count)), 1)[0]
                        code.store([code.build.fmul(value, factor)], target)
                    with plain:
                        code.store([value], target)

            made.give(out, corner, (high, broad, count), _out_of, write)

        _tiles(code, high, broad, tile)

    code.blocks_of_images(count, block)
    code.build.ret_void()


def winograd_to_images(module: ir.Module, shape: Shape) -> None:
    """dx (C, H, W, N) of g (K, O, Q, N) and u (16, K, C).

    Where there is a gate (C, H, W, N), nothing passes at what is zero in it or below. near is as in `winograd`.
    """
    code = Function(
        module,
        "winograd_to_images",
        ("g", "u", "gate", "near", "dx"),
        ("channels", "height", "width", "count", "outputs"),
        shape,
    )
    g, u, gate, near, dx, channels, height, width, count, outputs = code.named.values()
    high, broad = code.sub(height, 2), code.sub(width, 2)

    def seen(y: ir.Value, column: ir.Value, i: int, j: int) -> ir.Value:
        """Whether an earlier tile has written its share to this pixel."""
        found = ir.Constant(ir.IntType(1), 0)
        for start, offset in ((y, i), (column, j)):
            if offset < 2:
                found = code.build.or_(found, code.build.icmp_signed(">", start, code.whole(0)))
        return found

    def block(first: ir.Value, vectors: int) -> None:
        back = _Panel(code, near, outputs, vectors)
        made = _Panel(code, back.end, channels, vectors)

        def tile(y: ir.Value, column: ir.Value) -> None:
            corner = (y, column, first)
            back.take(g, corner, 2, (high, broad, count), _back_out_of)
            _product(code, u, (code.whole(1), channels), made, back)

            def write(value: ir.Value, target: ir.Value, _c: ir.Value, _image: ir.Value, i: int, j: int) -> None:
                before = code.build.select(seen(y, column, i, j), code.images(target, 1)[0], code.zero())
                code.store([code.build.fadd(before, value)], target)

            made.give(dx, corner, (height, width, count), _back_into, write)

        _tiles(code, high, broad, tile)

        def gated(row: ir.Value, vector: ir.Value) -> None:
            entry = code.at((row, code.add(first, vector)), count)
            target = code.address(dx, entry)
            shown = code.build.fcmp_unordered(">", code.images(code.address(gate, entry), 1)[0], code.zero())
            code.store([code.build.select(shown, code.images(target, 1)[0], code.zero())], target)

        with code.build.if_then(code.given(gate)):
            _each(code, code.mul(channels, code.mul(height, width)), vectors, gated)

    code.blocks_of_images(count, block)
    code.build.ret_void()


def winograd_to_weights(module: ir.Module, shape: Shape) -> None:
    """du (16, K, P) += what x (C, H, W, N) and g (K, O, Q, N) give for u; P is C in whole fours, the rest is waste.

    `images` at once, whole vectors, and `lines` of tiles at once. near: room for 4 tables of those
    images and tiles and all channels of both sides, and a vector more in each.
    """
    code = Function(
        module,
        "winograd_to_weights",
        ("x", "g", "near", "du"),
        ("channels", "height", "width", "count", "outputs", "images", "lines"),
        shape,
    )
    x, g, near, du, channels, height, width, count, outputs, group, lines = code.named.values()
    high, broad, build = code.sub(height, 2), code.sub(width, 2), code.build
    across, down = build.sdiv(broad, code.whole(2)), build.sdiv(high, code.whole(2))
    padded = code.mul(build.sdiv(code.add(channels, SUMMED - 1), code.whole(SUMMED)), SUMMED)

    def piece(first: ir.Value, images: ir.Value, top: ir.Value, tall: ir.Value, i: ir.Value) -> None:
        """What the row `i` of the 4x4 numbers of some tiles gives."""
        length = code.mul(code.mul(tall, across), images)
        # One vector more between the four tables, or their rows would fall upon each other in the cache.
        seen_size, back_size = (code.add(code.mul(rows, length), code.lanes) for rows in (channels, outputs))
        back = code.address(near, code.mul(seen_size, TILE))
        upper, lower = code.choose(i, (0, 1, 2, 1)), code.choose(i, (2, 2, 1, 3))
        sign = code.spread(code.choose_number(i, (-1, 1, -1, -1)))
        factors = [code.spread(code.choose_number(i, own)) for own in ((1, 1, 1, 0), (0, 1, -1, -1))]

        def each(rows: ir.Value, body: Callable[[ir.Value, ir.Value, ir.Value, ir.Value, ir.Value], None]) -> None:
            def row(number: ir.Value) -> None:
                def tile(line: ir.Value, place: ir.Value) -> None:
                    start = code.mul(code.at((number, line, place), tall, across), images)
                    y, column = code.mul(code.add(top, line), 2), code.mul(place, 2)
                    code.loop(
                        0,
                        images,
                        code.lanes,
                        lambda image: body(number, y, column, code.add(first, image), code.add(start, image)),
                    )

                code.grid(tall, across, tile)

            code.loop(0, rows, 1, row)

        def take_images(c: ir.Value, y: ir.Value, column: ir.Value, image: ir.Value, target: ir.Value) -> None:
            sizes, sums = (height, width, count), []
            for j in range(TILE):
                one = _pixel(code, x, (c, code.add(y, upper), column, image), (0, j), sizes)
                other = _pixel(code, x, (c, code.add(y, lower), column, image), (0, j), sizes)
                sums.append(code.multiply_add(sign, other, one))
            for j, value in enumerate(_into(code, sums)):
                code.store([value], code.address(near, code.add(code.mul(seen_size, j), target)))

        def take_gradients(k: ir.Value, y: ir.Value, column: ir.Value, image: ir.Value, target: ir.Value) -> None:
            sums = []
            for j in range(2):
                one, other = (
                    _pixel(code, g, (k, y, column, image), (number, j), (high, broad, count)) for number in range(2)
                )
                sums.append(code.multiply_add(factors[1], other, build.fmul(factors[0], one)))
            for j, value in enumerate(_back_out_of(code, sums)):
                code.store([value], code.address(back, code.add(code.mul(back_size, j), target)))

        each(channels, take_images)
        each(outputs, take_gradients)

        def product(j: ir.Value, k: ir.Value) -> None:
            passed = code.rows(code.address(back, code.mul(j, back_size)), k, outputs, length)
            table = code.address(near, code.mul(j, seen_size))

            def some(c: ir.Value) -> None:
                last = code.sub(channels, 1)
                chosen = [code.least(code.add(c, number), last) for number in range(SUMMED)]
                own = [code.address(table, code.mul(row, length)) for row in chosen]

                def vector(place: ir.Value, *totals: ir.Value) -> Values:
                    values = [code.images(code.address(start, place), 1)[0] for start in passed]
                    seen = [code.images(code.address(start, place), 1)[0] for start in own]
                    return code.outer(totals, values, seen)

                totals = code.loop(0, length, code.lanes, vector, [code.zero()] * (SUMMED * shape.channels))

                def write(row: ir.Value, number: int) -> None:
                    found = code.sums(totals[SUMMED * number : SUMMED * (number + 1)])
                    entry = code.at((i, j, row, c), code.whole(TILE), outputs, padded)
                    target = code.address(du, entry)
                    before = build.load(target, typ=found.type, align=shape.item_bytes)
                    build.store(build.fadd(before, found), target, align=shape.item_bytes)

                code.each_row(k, outputs, write)

            code.loop(0, channels, SUMMED, some)

        code.grid(code.whole(TILE), outputs, product, step=shape.channels)

    def images(number: ir.Value) -> None:
        first = code.mul(number, group)
        some = code.least(group, code.sub(count, first))

        def rows(number: ir.Value) -> None:
            top = code.mul(number, lines)
            tall = code.least(lines, code.sub(down, top))
            code.loop(0, code.whole(TILE), 1, lambda i: piece(first, some, top, tall, i))

        code.loop(0, code.parts(down, lines), 1, rows)

    code.loop(0, code.parts(count, group), 1, images)
    build.ret_void()


class _Panel:
    """16 tables (rows, vectors of images) of a block of images, in a workspace."""

    def __init__(self, code: Function, start: ir.Value, rows: ir.Value, vectors: int) -> None:
        self.code, self.start, self.rows, self.vectors = code, start, rows, vectors
        self.width = vectors * code.lanes
        # One vector more, or the same row of all tables would fall upon one place of the cache.
        self.size = code.add(code.mul(rows, self.width), code.lanes)
        self.end = code.address(start, code.mul(self.size, TILE * TILE))

    def place(self, table: ir.Value, row: ir.Value, image: ir.Value) -> ir.Value:
        """Where a vector lies."""
        number = self.code.add(self.code.mul(table, self.size), self.code.add(self.code.mul(row, self.width), image))
        return self.code.address(self.start, number)

    def take(self, table: ir.Value, corner: Triple, side: int, sizes: Triple, along: Along) -> None:
        """Turn the pixels of a tile around, `side` by `side` from its upper left corner (y, x, first image)."""
        code, (y, column, first) = self.code, corner

        def one(row: ir.Value, vector: ir.Value) -> None:
            start = (row, y, column, code.add(first, vector))
            pixels = [[_pixel(code, table, start, (i, j), sizes) for j in range(side)] for i in range(side)]
            numbers = (value for line in _both_ways(code, pixels, along) for value in line)
            for number, value in enumerate(numbers):
                code.store([value], self.place(code.whole(number), row, vector))

        _each(code, self.rows, self.vectors, one)

    def give(self, table: ir.Value, corner: Triple, sizes: Triple, along: Along, write: Callable[..., None]) -> None:
        """write(value, where it belongs in `table`, row, image, i, j) for each pixel that the 16 tables turn into."""
        code, (y, column, first) = self.code, corner

        def one(row: ir.Value, vector: ir.Value) -> None:
            image = code.add(first, vector)
            numbers = [
                [code.images(self.place(code.whole(TILE * i + j), row, vector), 1)[0] for j in range(TILE)]
                for i in range(TILE)
            ]
            for i, line in enumerate(_both_ways(code, numbers, along)):
                for j, value in enumerate(line):
                    place = (row, code.add(y, i), code.add(column, j), image)
                    write(value, code.address(table, code.at(place, *sizes)), row, image, i, j)

        _each(code, self.rows, self.vectors, one)


def _product(code: Function, u: ir.Value, steps: tuple[ir.Value, ir.Value], made: _Panel, seen: _Panel) -> None:
    """made = u * seen for each of the 16 tables.

    steps: how far apart two rows of u lie (of what is made), and two columns (of what is seen).
    """
    vectors, size = seen.vectors, code.mul(made.rows, seen.rows)

    def rows(table: ir.Value, first: ir.Value) -> None:
        weights = code.rows(code.address(u, code.mul(table, size)), first, made.rows, steps[0])

        def inner(c: ir.Value, *totals: ir.Value) -> Values:
            values = code.images(seen.place(table, c, code.whole(0)), vectors)
            taken = [code.scalar_at(code.address(place, code.mul(c, steps[1]))) for place in weights]
            return code.outer(totals, [code.spread(weight) for weight in taken], values)

        sums = code.loop(0, seen.rows, 1, inner, [code.zero()] * (code.shape.channels * vectors))

        def write(row: ir.Value, number: int) -> None:
            code.store(sums[number * vectors : (number + 1) * vectors], made.place(table, row, code.whole(0)))

        code.each_row(first, made.rows, write)

    code.grid(code.whole(TILE * TILE), made.rows, rows, step=code.shape.channels)


def _tiles(code: Function, high: ir.Value, broad: ir.Value, body: Callable[[ir.Value, ir.Value], None]) -> None:
    """body(y, column) for the upper left pixel of each tile."""

    def line(y: ir.Value) -> None:
        code.loop(0, broad, 2, lambda column: body(y, column))

    code.loop(0, high, 2, line)


def _each(code: Function, rows: ir.Value, vectors: int, body: Callable[[ir.Value, ir.Value], None]) -> None:
    """body(row, image) for each vector of a block of images in each row."""
    code.grid(rows, code.whole(vectors * code.lanes), body, step=code.lanes)


def _pixel(
    code: Function,
    table: ir.Value,
    start: tuple[ir.Value, ir.Value, ir.Value, ir.Value],
    offset: tuple[int, int],
    sizes: Triple,
) -> ir.Value:
    row, y, column, image = start
    place = (row, code.add(y, offset[0]), code.add(column, offset[1]), image)
    return code.images(code.address(table, code.at(place, *sizes)), 1)[0]


def _both_ways(code: Function, values: Sequence[Values], along: Along) -> list[Values]:
    """`along` over each column, and then over each row."""
    columns = [along(code, list(column)) for column in zip(*values, strict=True)]
    return [along(code, list(row)) for row in zip(*columns, strict=True)]


def _into(code: Function, d: Values) -> Values:
    """Four pixels as the four numbers of a tile."""
    build = code.build
    return [build.fsub(d[0], d[2]), build.fadd(d[1], d[2]), build.fsub(d[2], d[1]), build.fsub(d[1], d[3])]


def _back_into(code: Function, t: Values) -> Values:
    """The gradients of four pixels from those of `_into`."""
    build = code.build
    second = build.fadd(build.fsub(t[1], t[2]), t[3])
    return [t[0], second, build.fsub(build.fadd(t[1], t[2]), t[0]), build.fneg(t[3])]


def _out_of(code: Function, m: Values) -> Values:
    """Four numbers of a tile as two pixels of the answer."""
    build = code.build
    return [build.fadd(build.fadd(m[0], m[1]), m[2]), build.fsub(build.fsub(m[1], m[2]), m[3])]


def _back_out_of(code: Function, y: Values) -> Values:
    """The gradients of four numbers of a tile from those of `_out_of`."""
    build = code.build
    return [y[0], build.fadd(y[0], y[1]), build.fsub(y[0], y[1]), build.fneg(y[1])]
