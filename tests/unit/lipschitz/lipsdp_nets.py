"""Small programs of every form, for tests of the optimisers."""

from __future__ import annotations

from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.torus.program import torus_program
from tests.unit.lipschitz.graphs import Sketch


def layers(*weights):
    """A chain of rectifiers with these weights."""
    net = Sketch(weights[0].shape[1])
    for number, weight in enumerate(weights):
        if number:
            net.act()
        net.linear(weight)
    return dense_program(net.graph())


def chain():
    net = Sketch(5)
    net.linear(7)
    net.act()
    net.linear(6)
    net.act()
    net.linear(3)
    return dense_program(net.graph())


def residual():
    """The input itself goes on to the second activation and to the outputs."""
    net = Sketch(4)
    net.linear(5)
    net.act()
    sum_ = net.add(0, net.linear(4))
    net.act()
    net.linear(6)
    net.act()
    net.add(sum_, net.linear(4))
    return dense_program(net.graph())


def strided():
    """Two strided convolutions, then two dense layers."""
    net = Sketch(2, 7, 7)
    net.random_conv(3, padding=1, stride=2)
    net.act()
    net.random_conv(4, padding=1, stride=2)
    net.act()
    net.flatten()
    net.linear(5)
    net.act()
    net.linear(6)
    net.act()
    net.linear(3)
    return torus_program(net.graph())


def residual_conv():
    """A residual block that the input joins too, and outputs at once."""
    net = Sketch(3, 4, 4)
    net.random_conv(3, padding=1)
    net.act()
    net.add(0, net.random_conv(3, padding=1))
    net.act()
    net.flatten()
    net.linear(2)
    return torus_program(net.graph())


def input_past_the_torus():
    """Dense units and outputs that read both the torus and the input."""
    net = Sketch(2, 4, 4)
    net.random_conv(2, padding=1)
    net.act()
    net.add(0, net.random_conv(2, padding=1))
    flat = net.flatten()
    net.linear(6)
    net.act()
    net.add(net.linear(3), net.linear(3, source=flat))
    return torus_program(net.graph())


PROGRAMS = {
    build.__name__: build
    for build in (chain, residual, strided, residual_conv, input_past_the_torus)
}
