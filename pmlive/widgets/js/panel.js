// A table or a few lines. The kernel makes the HTML, and has escaped every text in it that strangers wrote.

export default {
  render({ model, el }) {
    const page = document.createElement("div");
    el.append(page);
    return follow(model, el, (state) => {
      if (state.number >= 0) page.innerHTML = state.values.html;
    });
  },
};
