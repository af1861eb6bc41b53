"""Style sheet and script of the report."""

CSS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d2530; --soft: #56606d; --line: #dde1e6; --panel: #f6f7f9;
  --link: #1a5aa8; --c0: #2266b0; --c1: #b3530a; --c2: #277a43; --c3: #7848b0; --c4: #b3261e; --c5: #0d7377;
  --c6: #8a6d00; --c7: #5d6671; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e4e8ed; --soft: #a3adb9; --line: #343c46;
  --panel: #1c2229; --link: #8fbdf2; --c0: #7ab2f0; --c1: #f0a35e; --c2: #7fd09b; --c3: #c3a2f2; --c4: #ff938a;
  --c5: #64cdd0; --c6: #dcc25c; --c7: #b0b9c4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
h1, h2, h3 { line-height: 1.25; font-weight: 650; }
h1 { font-size: 1.9rem; margin: 0 0 .5rem; }
h2 { font-size: 1.4rem; margin: 3.5rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.15rem; margin: 0 0 .25rem; }
p { max-width: 46rem; margin: .5rem 0; }
a { color: var(--link); }
code { font: .9em ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
.scroll { overflow-x: auto; margin: 1.25rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; padding-bottom: .6rem; max-width: 46rem; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); }
.number, tbody th { white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th.number, td.number { text-align: right; }
tbody th { font-weight: 600; position: sticky; left: 0; background: var(--paper); }
th button { all: unset; cursor: pointer; }
th button:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
th button::after { content: " \\2195"; color: var(--line); }
th[aria-sort=ascending] button::after { content: " \\2191"; color: inherit; }
th[aria-sort=descending] button::after { content: " \\2193"; color: inherit; }
article { background: var(--panel); border-radius: .6rem; padding: 1.25rem; margin: 1.25rem 0; }
article > p:first-of-type { margin-bottom: 1rem; }
.parts { display: flex; flex-wrap: wrap; gap: 1.25rem 2rem; align-items: flex-start; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1rem;
  margin-top: 1.25rem; align-items: start; }
figure { margin: 0; max-width: 100%; }
figure img { display: block; width: 100%; height: auto; background: #fff; border-radius: .3rem; }
svg { max-width: 100%; height: auto; }
svg.defs { position: absolute; }
svg text { fill: var(--ink); font-size: 12.5px; }
.chart text { font-size: 12px; }
.network .in, .network .out { fill: var(--paper); stroke: var(--soft); }
.network .cell { fill: var(--paper); stroke: var(--c0); stroke-width: 1.5; }
.network .pool { fill: var(--paper); stroke: var(--c2); stroke-width: 1.5; }
.flow, .back, .look { stroke: var(--soft); fill: none; stroke-width: 1.2; }
.look { stroke: var(--c2); }
.back { stroke-dasharray: 3 3; }
marker path { fill: var(--soft); }
.grid { stroke: var(--line); }
.line { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round; stroke-linecap: round; }
circle { fill: currentColor; }
.interval { vertical-align: middle; margin-right: .4rem; width: 120px; max-width: none; }
.interval + span { display: inline-block; min-width: 4.2rem; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2, .better { color: var(--c2); } .c3 { color: var(--c3); }
.c4, .worse { color: var(--c4); } .c5 { color: var(--c5); } .c6 { color: var(--c6); } .c7, .open { color: var(--c7); }
.key { margin-right: .8rem; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 1.1rem; border-top: 3px solid; margin-right: .3rem;
  vertical-align: middle; }
dl { display: grid; grid-template-columns: minmax(4.5rem, auto) 1fr; gap: .2rem 1rem; margin: .75rem 0 0;
  font-size: .92rem; }
dt { color: var(--soft); }
dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.result { font-size: 1.05rem; }
.drawn { flex: 1 1 40rem; min-width: 0; display: grid; gap: 1.25rem; }
.facts { flex: 1 1 22rem; min-width: 0; }
details { margin-top: .75rem; font-size: .92rem; }
summary { cursor: pointer; color: var(--soft); }
@media print { article { break-inside: avoid; background: none; border: 1px solid var(--line); } }
@media (max-width: 40rem) { body { padding: 1rem .9rem 3rem; } article { padding: .9rem; }
  h1 { font-size: 1.5rem; }
  caption { max-width: calc(100vw - 2rem); }
  th, td { padding: .4rem .45rem; }
  th:nth-child(2), td:nth-child(2), th:nth-child(3), td:nth-child(3) { display: none; } }
"""

SCRIPT = """
for (const head of document.querySelectorAll('thead th')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.append(...head.childNodes);
  head.append(button);
  button.onclick = () => {
    const down = head.getAttribute('aria-sort') === 'ascending', body = head.closest('table').tBodies[0];
    for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const key = row => row.cells[head.cellIndex].dataset.key || row.cells[head.cellIndex].textContent;
    const numbers = head.className === 'number';
    const order = (one, other) => numbers ? key(one) - key(other) : key(one).localeCompare(key(other), 'en');
    body.append(...[...body.rows].sort((one, other) => down ? order(other, one) : order(one, other)));
  };
}
"""
