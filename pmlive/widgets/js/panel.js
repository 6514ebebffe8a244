// A table or a few lines. The kernel makes the HTML, and has escaped every text in it that strangers wrote.

// Prices are clicked, or reached with Tab and the arrows and chosen with Enter: the kernel then marks them in the charts.
function pricesIn(page, model) {
  const prices = () => [...page.querySelectorAll("[data-price]")];
  // The price that has the focus, or had it before the table was written anew.
  let held = null;
  const choose = (target) => {
    const cell = target.closest("[data-price]");
    if (cell) model.send({ kind: "mark", price: Number(cell.dataset.price) });
  };
  const step = (by) => {
    const all = prices();
    const at = all.findIndex((cell) => cell.dataset.price === held) + by;
    if (all[at]) all[at].focus();
  };
  const acts = { ArrowUp: () => step(-1), ArrowDown: () => step(1), Enter: choose, " ": choose };
  // A click ends on another element than it began on, where the table was written anew in between.
  page.addEventListener("pointerdown", (event) => choose(event.target));
  page.addEventListener("keydown", (event) => {
    if (!acts[event.key] || !event.target.closest("[data-price]")) return;
    acts[event.key](event.target);
    event.preventDefault();
    event.stopPropagation();
  });
  page.addEventListener("focusin", (event) => (held = event.target.closest("[data-price]")?.dataset.price ?? null));
  // Makes the prices of a table that was written anew ready to be chosen.
  return (hadFocus) => {
    const all = prices();
    const first = all.find((cell) => cell.dataset.price === held) || all[all.length >> 1];
    for (const cell of all) {
      cell.tabIndex = cell === first ? 0 : -1;
      cell.style.cursor = "pointer";
      cell.title = "mark this price in the charts";
    }
    if (first && hadFocus) first.focus({ preventScroll: true });
  };
}

export default {
  render({ model, el }) {
    const page = document.createElement("div");
    el.append(page);
    const ready = pricesIn(page, model);
    return follow(model, el, (state) => {
      const paint = colours(el);
      for (const name of ["bid", "ask", "mid", "grid"]) page.style.setProperty(`--pmlive-${name}`, paint[name]);
      if (state.number < 0) return;
      const hadFocus = page.contains(document.activeElement);
      page.innerHTML = state.values.html;
      ready(hadFocus);
    });
  },
};
