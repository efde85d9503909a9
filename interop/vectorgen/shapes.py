"""Building blocks that several generators use."""

import random
import struct


class Dice:
    """Random numbers that are the same in every Python version."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def below(self, n):
        """0 <= result < n; the slight bias does not matter here."""
        return self._random.getrandbits(32) % n

    def bits(self, n):
        return self._random.getrandbits(n)

    def pick(self, items):
        return items[self.below(len(items))]


TEXTS = ["", "a", "key", "\u00e9", "\u6c34", "\U0001f40d", "\x00", "two words", "a.b[0]", '"']


def tree(dice, depth):
    """A random value, at most depth containers deep."""
    kind = dice.below(8 if depth else 6)
    if kind == 0:
        return dice.pick([None, True, False])
    if kind == 1:
        return dice.bits(64) - 2**63 >> dice.below(64)
    if kind == 2:
        return struct.unpack(">d", struct.pack(">Q", dice.bits(64)))[0]
    if kind == 3:
        return bytes(dice.bits(8) for _ in range(dice.below(12)))
    if kind in (4, 5):
        return "".join(dice.pick(TEXTS) for _ in range(dice.below(4)))
    if kind == 6:
        return [tree(dice, depth - 1) for _ in range(dice.below(5))]
    return {dice.pick(TEXTS) + str(dice.below(3)): tree(dice, depth - 1) for _ in range(dice.below(5))}


def nest(depth, wrap, leaf):
    """leaf inside depth containers; wrap(value, level) makes one."""
    for level in range(depth):
        leaf = wrap(leaf, level)
    return leaf


def in_list(value, _level):
    return [value]


def in_dict(value, _level):
    return {"k": value}


def in_both(value, level):
    return [value] if level % 2 else {"": value}
