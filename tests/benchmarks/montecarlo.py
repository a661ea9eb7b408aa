"""Judge raw, white, measured noise and D alone on simulated differences; print a Markdown table.

``python tests/benchmarks/montecarlo.py --size 1024 --seeds 2``
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.montecarlo import VARIANTS, Scene
from helpers.scoring import HEADER, MODES, Score, result_of, row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="pixels of a side")
    parser.add_argument("--seeds", type=int, default=2, help="realisations of the noise")
    parser.add_argument("--scene", type=int, default=0, help="seed of all but the noise")
    parser.add_argument("--sets", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--masked", nargs="+", type=float, default=[0.1], help="share in discs")
    parser.add_argument("--warp", type=float, default=0.2, help="its phase's change, pixels")
    given = parser.parse_args()
    print(HEADER)  # noqa: T201
    for variant in given.sets:
        for masked in given.masked:
            scene = Scene(given.size, variant, given.scene, masked, given.warp)
            scores = {mode: Score() for mode in given.modes}
            for seed in range(given.seeds):
                realisation = scene.realise(seed)
                for mode, score in scores.items():
                    score.add(scene, result_of(scene, realisation, mode))
            for mode, score in scores.items():
                print(row(variant, masked, mode, score), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
