# SPDX-License-Identifier: Apache-2.0
"""The README's tour, word for word: each block of commands runs in one shell, and prints what it says."""
import re
import subprocess

from env.stack import command_environment
from env.wait import BUILD, TOP

BLOCK = re.compile(r"^```(sh|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "-- end of block --"


def tour():
    """Pairs of commands and the answer that the README shows, or None."""
    text = (TOP / "README.md").read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert blocks and blocks[0][0] == "sh"
    pairs = []
    for kind, content in blocks:
        if kind == "sh":
            pairs.append([content, None])
        else:
            assert pairs[-1][1] is None, "an answer without commands"
            pairs[-1][1] = content
    return pairs


def pattern(expected):
    """`…` stands for anything on its line."""
    return re.compile("".join(".*" if part == "…" else re.escape(part) for part in re.split("(…)", expected)) + r"\Z")


def test_the_tour_prints_what_the_readme_shows(make_stack, tmp_path):
    stack = make_stack(bcrypt_cost=10, jobs=True)
    # The README speaks of ./run and port 8443; the stack lies elsewhere.
    (tmp_path / "run").symlink_to(stack.dir)
    (tmp_path / "build").symlink_to(BUILD)
    pairs = tour()
    assert sum(answer is not None for _, answer in pairs) >= 6
    script = "set -e\n" + f"printf '%s\\n' '{MARK}'\n".join(commands for commands, _ in pairs)
    done = subprocess.run(
        ["bash", "-c", script.replace("localhost:8443", f"localhost:{stack.port}")], cwd=tmp_path, text=True,
        capture_output=True, env=command_environment(), check=False)
    assert done.returncode == 0, done.stderr
    answers = done.stdout.split(MARK + "\n")
    assert len(answers) == len(pairs)
    for (commands, expected), printed in zip(pairs, answers):
        if expected is not None:
            assert pattern(expected).match(printed), f"{commands}\nshows:\n{expected}\nprinted:\n{printed}"
