const tip = document.getElementById("tip");
let shown = null;
const show = (element) => {
  shown = element;
  tip.textContent = element.dataset.tip;
  tip.hidden = false;
  const box = element.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const left = Math.min(Math.max(8, box.left + box.width / 2 - own.width / 2), document.documentElement.clientWidth - own.width - 8);
  const above = box.top - own.height - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above < 44 ? box.bottom + 8 : above}px`;
};
const hide = () => { tip.hidden = true; shown = null; };
for (const [enter, leave] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
  document.addEventListener(enter, (event) => {
    const found = event.target.closest("[data-tip]");
    if (found) show(found);
  });
  document.addEventListener(leave, hide);
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
addEventListener("scroll", () => { if (shown) show(shown); }, { passive: true });

for (const strip of document.querySelectorAll(".strip")) {
  const bars = [...strip.children];
  let at = -1;
  const move = (to) => {
    bars[at]?.removeAttribute("aria-selected");
    at = Math.min(bars.length - 1, Math.max(0, to));
    bars[at].setAttribute("aria-selected", "true");
    show(bars[at]);
  };
  strip.addEventListener("keydown", (event) => {
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: bars.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  });
  strip.addEventListener("blur", () => { bars[at]?.removeAttribute("aria-selected"); });
}

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement.style;
  const dark = root.colorScheme ? root.colorScheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.colorScheme = dark ? "light" : "dark";
});

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const cell = (row, column) => {
    let at = 0;
    for (const found of row.cells) if (column < (at += found.colSpan)) return found;
  };
  // A number sorts by its value, a cell without one comes last, and text sorts as text.
  const key = (row, column) => {
    const found = cell(row, column);
    if (found.dataset.value !== undefined) return Number(found.dataset.value);
    return found.classList.contains("number") || found.colSpan > 1 ? Infinity : found.textContent;
  };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    body.append(...[...body.rows].sort((a, b) => {
      const x = key(a, column), y = key(b, column);
      if (x === Infinity || y === Infinity) return x === y ? 0 : x === Infinity ? 1 : -1;
      return direction * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), undefined, { numeric: true }));
    }));
  }));
}
