// A table or a few lines. The kernel makes the HTML, and has escaped every text in it that strangers wrote.

export default {
  render({ model, el }) {
    const page = document.createElement("div");
    el.append(page);
    return follow(model, el, (state) => {
      const paint = colours(el);
      for (const name of ["bid", "ask", "mid", "grid"]) page.style.setProperty(`--pmlive-${name}`, paint[name]);
      if (state.number >= 0) page.innerHTML = state.values.html;
    });
  },
};
