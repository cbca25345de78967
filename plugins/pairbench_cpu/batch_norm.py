"""Batch norm over images whose last axis is the batch, each view by itself, and its gradients, as machine code.

A channel of one view is read three times while it is in the cache: for its mean, for its variance, and to be written.
"""

from __future__ import annotations

from llvmlite import ir

from pairbench_cpu.ir_builder import Function, Shape

TABLES = ("x", "weight", "bias", "mask", "eps", "mean", "variance")


class _Channel:
    """One channel of one view: where it lies, and its line x * factor + offset once its statistics are known."""

    def __init__(self, code: Function, c: ir.Value, view: ir.Value) -> None:
        self.code, self.c = code, c
        views = code.named["views"]
        self.rows, self.width = code.named["pixels"], code.named["width"]
        self.count = code.build.sdiv(code.named["count"], views)
        self.start = code.mul(view, self.count)
        self.each = code.build.sitofp(code.mul(self.rows, self.count), code.shape.scalar)
        self.slot = code.at((c, view), views)

    def place(self, name: str, row: ir.Value, image: ir.Value) -> ir.Value:
        """Where the images from `image` on lie in pixel `row` of a table (C, P, N)."""
        number = self.code.at((self.c, row, self.code.add(self.start, image)), self.rows, self.width)
        return self.code.address(self.code.named[name], number)

    def masks(self, image: ir.Value) -> ir.Value:
        """Where the mask of the images from `image` on lies."""
        return self.code.address(
            self.code.named["mask"], self.code.at((self.c, self.code.add(self.start, image)), self.width)
        )

    def own(self, name: str) -> ir.Value:
        """The number of this channel in a table (C,)."""
        return self.code.scalar_at(self.code.address(self.code.named[name], self.c))

    def line(self, mean: ir.Value, variance: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """One over the standard deviation, the factor and the offset."""
        build, code = self.code.build, self.code
        kind = ir.FunctionType(code.shape.scalar, [code.shape.scalar])
        root = code.function.module.globals.get(name := f"llvm.sqrt.f{8 * code.shape.item_bytes}")
        root = root or ir.Function(code.function.module, kind, name)
        deviation = build.call(root, [build.fadd(variance, code.scalar_at(code.named["eps"]))])
        inverse = build.fdiv(ir.Constant(code.shape.scalar, 1.0), deviation)
        factor = build.fmul(inverse, self.own("weight"))
        return inverse, factor, build.fsub(self.own("bias"), build.fmul(mean, factor))


def normalise(module: ir.Module, shape: Shape) -> None:
    """out = batch norm of x (C, P, N) over P and V parts of `count` of N, ReLU, mask (C, N); mean, variance (C, V)."""
    code = Function(
        module, "normalise", (*TABLES, "out"), ("channels", "pixels", "width", "count", "views", "relu"), shape
    )
    build = code.build
    channels, views = code.named["channels"], code.named["views"]
    relu = build.icmp_signed("!=", code.named["relu"], code.whole(0))
    has_mask = code.given(code.named["mask"])

    def part(c: ir.Value, view: ir.Value) -> None:
        one = _Channel(code, c, view)

        def seen(row: ir.Value, image: ir.Value) -> ir.Value:
            return code.images(one.place("x", row, image), 1)[0]

        mean = build.fdiv(code.gather(one.rows, one.count, lambda row, image: [seen(row, image)], 1)[0], one.each)

        def square(row: ir.Value, image: ir.Value) -> list[ir.Value]:
            centred = build.fsub(seen(row, image), code.splat(mean))
            return [build.fmul(centred, centred)]

        variance = build.fdiv(code.gather(one.rows, one.count, square, 1)[0], one.each)
        for name, value in (("mean", mean), ("variance", variance)):
            build.store(value, code.address(code.named[name], one.slot), align=shape.item_bytes)
        _, factor, offset = one.line(mean, variance)

        def write(row: ir.Value, image: ir.Value) -> None:
            line = code.multiply_add(seen(row, image), code.splat(factor), code.splat(offset))
            value = code.rectified(line, relu)
            with build.if_else(has_mask) as (masked, plain):
                with masked:
                    kept = build.fmul(value, code.images(one.masks(image), 1)[0])
                    code.store([kept], one.place("out", row, image))
                with plain:
                    code.store([value], one.place("out", row, image))

        code.every(one.rows, one.count, write)

    code.grid(channels, views, part)
    build.ret_void()


def normalise_back(module: ir.Module, shape: Shape) -> None:
    """dx (C, P, N) of what comes back, g (C, P, N), through mask, ReLU and norm; dweight and dbias (C) are added to."""
    code = Function(
        module,
        "normalise_back",
        (*TABLES, "g", "dx", "dweight", "dbias"),
        ("channels", "pixels", "width", "count", "views", "relu"),
        shape,
    )
    build = code.build
    channels, views = code.named["channels"], code.named["views"]
    relu = build.icmp_signed("!=", code.named["relu"], code.whole(0))
    has_mask = code.given(code.named["mask"])
    one_each = ir.Constant(shape.scalar, 1.0)

    def part(c: ir.Value, view: ir.Value) -> None:
        one = _Channel(code, c, view)
        mean, variance = (code.scalar_at(code.address(code.named[name], one.slot)) for name in ("mean", "variance"))
        inverse, factor, offset = one.line(mean, variance)

        def passed(row: ir.Value, image: ir.Value) -> tuple[ir.Value, ir.Value]:
            seen = code.images(one.place("x", row, image), 1)[0]
            back = code.images(one.place("g", row, image), 1)[0]
            # The very line of the way forward, so that the same numbers pass.
            above = build.fcmp_unordered(
                ">", code.multiply_add(seen, code.splat(factor), code.splat(offset)), code.zero()
            )
            shown = build.select(relu, above, code.true())
            back = build.select(shown, back, code.zero())
            with build.if_else(has_mask) as (masked, plain):
                with masked:
                    kept = build.fmul(back, code.images(one.masks(image), 1)[0])
                    from_masked = build.block
                with plain:
                    from_plain = build.block
            joined = build.phi(code.vector)
            joined.add_incoming(kept, from_masked)
            joined.add_incoming(back, from_plain)
            return joined, build.fmul(build.fsub(seen, code.splat(mean)), code.splat(inverse))

        def both(row: ir.Value, image: ir.Value) -> list[ir.Value]:
            back, normal = passed(row, image)
            return [back, build.fmul(back, normal)]

        total, along = code.gather(one.rows, one.count, both, 2)
        for name, value in (("dbias", total), ("dweight", along)):
            target = code.address(code.named[name], c)
            build.store(build.fadd(code.scalar_at(target), value), target, align=shape.item_bytes)
        share = build.fdiv(one_each, one.each)
        shift, slope = (build.fmul(value, share) for value in (total, along))

        def write(row: ir.Value, image: ir.Value) -> None:
            back, normal = passed(row, image)
            rest = build.fsub(build.fsub(back, code.splat(shift)), build.fmul(normal, code.splat(slope)))
            code.store([build.fmul(rest, code.splat(factor))], one.place("dx", row, image))

        code.every(one.rows, one.count, write)

    code.grid(channels, views, part)
    build.ret_void()
