"""The rectangle of offsets that a kernel of free pixels may have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Support:
    """Offsets ``(x, y)`` of a kernel's pixels from its origin, all limits inclusive."""

    x0: int
    x1: int
    y0: int
    y1: int

    @classmethod
    def square(cls, half: int) -> Support:
        """Return the offsets up to `half` in all directions."""
        return cls(-half, half, -half, half)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape ``(ky, kx)`` of the kernel."""
        return self.y1 - self.y0 + 1, self.x1 - self.x0 + 1

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.shape[0] * self.shape[1]

    @property
    def origin(self) -> tuple[int, int]:
        """0-based pixel ``(cx, cy)`` of the kernel that is its origin; may lie outside."""
        return -self.x0, -self.y0

    @property
    def reach(self) -> int:
        """Largest offset along either axis."""
        return max(abs(self.x0), abs(self.x1), abs(self.y0), abs(self.y1))
