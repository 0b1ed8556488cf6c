"""A picture of where a build's time went: a lane for each stage, a bar for each step.

The longest chain of steps that waited for each other, which is what to shorten first, is drawn in
another colour. One file, no scripts, light and dark.
"""

from ketch.cli.build_steps import CANCELED, Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.build_steps import Step

_WIDTH, _LEFT, _RIGHT = 1120, 150, 40  # of the whole picture and its margins
_TOP, _ROW, _BAR, _GAP = (
    96,
    26,
    18,
    14,
)  # heights: above the first lane, a row, a bar, between lanes
_LEGEND = (("chain", "longest chain"), ("step", "step"), ("cached", "cached"), ("failed", "failed"))
_STYLE = """
svg{font:12px system-ui,'Segoe UI',sans-serif;background:#fff;color:#1c2733}
text{fill:#1c2733}.dim{fill:#66758a}.title{font-size:20px;font-weight:600}
.lane{fill:#f3f6fa}.axis{stroke:#d6dee8}.tick{fill:#8594a7;font-size:11px}
.step{fill:#7fb2e5}.chain{fill:#f0883e}.cached{fill:#c3ccd6}.failed{fill:#e5726e}
.canceled{fill:#ecd0ce}.inside{opacity:.7}
.edge{stroke:#9aa9ba;fill:none;stroke-width:1}.hot{stroke:#f0883e;stroke-width:1.5}
@media(prefers-color-scheme:dark){svg{background:#14191f}text{fill:#dbe4ee}.dim{fill:#8e9db0}
.lane{fill:#1c232b}.axis{stroke:#2d3844}.step{fill:#3f7fc1}.cached{fill:#465361}.chain{fill:#c4661f}
.failed{fill:#b8423e}.canceled{fill:#5b3a3a}}
"""


def html(record: "dict[str, Any]", steps: Steps) -> str:
    """A page with the picture and a table of the slowest steps."""
    rows = "".join(
        f"<tr><td>{step.seconds():.2f}&nbsp;s</td><td>{_escape(step.name)}</td></tr>"
        for step in sorted(steps.shown, key=lambda step: -step.seconds())[:10]
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>{_escape(record['Name'])}</title><style>"
        "body{margin:24px auto;max-width:1160px;font:14px system-ui,sans-serif;color-scheme:light "
        "dark}table{border-collapse:collapse;margin-top:16px}td{padding:3px 12px 3px 0;"
        "vertical-align:top}td:first-child{text-align:right;font-variant-numeric:tabular-nums}"
        f"h2{{font-size:15px;margin-top:28px}}</style>{svg(record, steps)}"
        f"<h2>The slowest steps</h2><table>{rows}</table></html>\n"
    )


def svg(record: "dict[str, Any]", steps: Steps) -> str:
    """The picture alone."""
    scale = _Scale(steps)
    lanes = _lanes(steps)
    chain = {step.digest for step in longest_chain(steps)}
    body: list[str] = []
    y = _TOP
    for name, members in lanes:
        height = len(members) * _ROW + 10
        body.append(f'<rect class="lane" x="0" y="{y}" width="{_WIDTH}" height="{height}" rx="6"/>')
        body.append(f'<text class="dim" x="14" y="{y + 22}">{_escape(_short(name, 18))}</text>')
        for row, step in enumerate(members):
            body.append(_bar(step, scale, y + 5 + row * _ROW, step.digest in chain))
        y += height + _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 10}" '
        f'width="100%" role="img"><style>{_STYLE}</style>{_head(record, steps)}'
        f"{_axis(scale, y)}{''.join(body)}</svg>\n"
    )


class _Scale:
    """Time to places."""

    def __init__(self, steps: Steps) -> None:
        self.begin = min(step.began for step in steps.shown)
        ends = [step.ended or step.began for step in steps.shown]
        self.seconds = max((max(ends) - self.begin) / 1e9, 0.001)

    def x(self, at: int) -> float:
        """Where an instant is."""
        room = _WIDTH - _LEFT - _RIGHT
        return _LEFT + (at - self.begin) / 1e9 / self.seconds * room

    def ticks(self) -> "list[float]":
        """Six round marks or so, in seconds."""
        rough = self.seconds / 6
        size = 10.0 ** len(str(int(rough))) / 10 if rough >= 1 else 1.0
        while size > rough:
            size /= 10
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
        return [step * n for n in range(int(self.seconds / step) + 1)]


def _head(record: "dict[str, Any]", steps: Steps) -> str:
    facts = [
        record["Status"],
        f"{record['Duration'] / 1e9:.1f} s",
        f"{record['CachedSteps']} of {record['Steps']} steps cached",
        record["StartedAt"][:19].replace("T", " "),
    ]
    out = [
        f'<text class="title" x="14" y="32">{_escape(_short(record["Name"], 80))}</text>',
        f'<text class="dim" x="14" y="52">{_escape(" · ".join(facts))}</text>',
    ]
    x = _WIDTH - 370
    for kind, word in _LEGEND:
        out.append(f'<rect class="{kind}" x="{x}" y="22" width="12" height="12" rx="3"/>')
        out.append(f'<text class="dim" x="{x + 17}" y="32">{word}</text>')
        x += 40 + 7 * len(word)
    return "".join(out)


def _axis(scale: _Scale, bottom: int) -> str:
    out = []
    for tick in scale.ticks():
        x = scale.x(scale.begin + int(tick * 1e9))
        line = f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{bottom}"/>'
        word = f"{tick:g} s"
        out.append(f'{line}<text class="tick" x="{x + 3:.1f}" y="{_TOP - 12}">{word}</text>')
    return "".join(out)


def _bar(step: "Step", scale: _Scale, y: int, hot: bool) -> str:
    left = scale.x(step.began)
    width = max(scale.x(step.ended or step.began) - left, 3)
    kind = _kind(step, hot)
    time = kind if kind in ("cached", "canceled") else f"{step.seconds():.2f} s"
    label = _short(f"{_plain_name(step)}", 90)
    inside = width > 7 * len(label) + 70
    fits = left + width + 7 * len(label) < _WIDTH - 60
    if inside:
        place, anchor = left + 8, "start"
    elif fits:
        place, anchor = left + width + 6, "start"
    else:
        place, anchor = left - 6, "end"
        label = _short(label, max(12, int((left - _LEFT) / 7)))
    return (
        f'<g><title>{_escape(step.name)}\n{time}</title><rect class="{kind}" x="{left:.1f}" '
        f'y="{y}" width="{width:.1f}" height="{_BAR}" rx="4"/><text x="{place:.1f}" '
        f'y="{y + 13}" text-anchor="{anchor}">{_escape(label)} '
        f'<tspan class="{"inside" if inside else "dim"}">{time}</tspan></text></g>'
    )


def _kind(step: "Step", hot: bool) -> str:
    if step.error:
        return "canceled" if step.error in CANCELED else "failed"
    return "cached" if step.cached else "chain" if hot else "step"


def _lanes(steps: Steps) -> "list[tuple[str, list[Step]]]":
    """Stages in the order in which they begin; the engine's own work first."""
    lanes: dict[str, list[Step]] = {}
    for step in sorted(steps.shown, key=lambda step: step.began):
        own = "engine" if step.name.startswith(("[internal]", "exporting")) else ""
        lanes.setdefault(step.stage or own or "images", []).append(step)
    return list(lanes.items())


def longest_chain(steps: Steps) -> "list[Step]":
    """From the step that ended last (of those that nobody canceled because another one failed)
    back through what it waited for, first to last."""
    known = {step.digest: step for step in steps.shown}
    own = [step for step in steps.shown if step.error not in CANCELED]
    current: Step | None = max(own or steps.shown, key=lambda step: step.ended)
    chain: list[Step] = []
    while current is not None and current not in chain:
        chain.append(current)
        waited = [known[digest] for digest in steps.inputs_of(current) if digest in known]
        current = max(waited, key=lambda step: step.ended, default=None)
    return chain[::-1]


def _plain_name(step: "Step") -> str:
    """Without the stage in brackets, which the lane tells."""
    if step.name.startswith("[") and not step.name.startswith("[internal]"):
        return step.name.partition("] ")[2] or step.name
    return step.name


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _escape(text: str) -> str:
    clean = "".join(c if c.isprintable() else " " for c in text)
    return (
        clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    )
