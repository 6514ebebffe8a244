// The buttons over a chart, and the pictures that two of them make.

const BUTTON =
  "font: 11px system-ui, sans-serif; line-height: 16px; padding: 0 6px; min-height: 18px; cursor: pointer; border-radius: 2px;" +
  "border: 1px solid var(--jp-border-color2, GrayText); color: inherit; white-space: nowrap; flex: none;";

// The device's pixels to one of the page's in a picture, at least.
const SHARP = 2;

class Toolbar {
  // `kinds` are the buttons: a text, what it does, and for a switch whether it is on.
  constructor(stage, kinds) {
    this.stage = stage;
    // In the corner of the chart, where a narrow one has room for it.
    const corner = `position: absolute; left: ${EDGE.left + 5}px; bottom: ${EDGE.bottom + 5}px; right: ${stage.right + 5}px;`;
    this.said = element("div", `${corner} font: 600 11px/1.4 system-ui, sans-serif; pointer-events: none;`, { role: "status" });
    this.buttons = kinds.map(({ text, title, act, isOn }) => {
      const button = element("button", BUTTON, { type: "button", title, "aria-label": title });
      button.textContent = text;
      button.addEventListener("click", () => act());
      return { button, isOn };
    });
    stage.bar.append(...this.buttons.map(({ button }) => button));
    stage.place.append(this.said);
    this.refresh("");
  }

  // Shows what is on, and a sentence beside it.
  refresh(sentence) {
    if (this.said.textContent !== sentence) this.said.textContent = sentence;
    const { text, ground } = colours(this.stage.el);
    // Seen over whatever is drawn; a page that is dark may leave its letters black.
    Object.assign(this.said.style, { color: text, textShadow: `0 0 3px ${ground}, 0 0 3px ${ground}, 0 0 3px ${ground}` });
    for (const { button, isOn } of this.buttons) {
      const pressed = isOn ? String(isOn()) : null;
      if (isOn && button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
      button.style.background = pressed === "true" ? "var(--jp-brand-color3, #cccccc)" : "transparent";
      button.style.color = pressed === "true" ? "#000" : text;
    }
  }
}

// The buttons that every chart has; `draw` draws the chart as it is now on a sheet, `name` is for its files.
function pictureTools(stage, draw, name, warn) {
  const failed = (error) => warn(`this did not work: ${error.message}`);
  const isFull = () => stage.isFull;
  const turn = () => (stage.isFull ? document.exitFullscreen() : stage.figure.requestFullscreen()).catch(failed);
  return [
    { text: "PNG", title: "save as a PNG picture", act: () => pngOf(stage, draw).then((blob) => save(blob, `${name()}.png`), failed) },
    { text: "SVG", title: "save as an SVG picture", act: () => save(svgOf(stage, draw), `${name()}.svg`) },
    { text: "full", title: "full screen", act: turn, isOn: isFull },
  ];
}

function pngOf(stage, draw) {
  const { width, height } = stage.size;
  const canvas = document.createElement("canvas");
  const pen = penOf(canvas, width, height, Math.max(SHARP, window.devicePixelRatio || 1));
  const sheet = { ...stage.sheet(pen, { width, height }), isPicture: true };
  draw(sheet);
  // Under what is drawn: gaps are cleared while a chart is.
  pen.globalCompositeOperation = "destination-over";
  pen.fillStyle = sheet.paint.ground;
  pen.fillRect(0, 0, width, height);
  return new Promise((done, fail) => {
    canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error("the browser made no picture"))), "image/png");
  });
}

function svgOf(stage, draw) {
  const { size } = stage;
  const pen = new VectorPen(size, colours(stage.el).ground, stage.canvas.getAttribute("aria-label"));
  draw({ ...stage.sheet(pen, size), isPicture: true });
  return new Blob([pen.text], { type: "image/svg+xml" });
}

function save(blob, name) {
  const link = element("a", "", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// A name for a file: what it shows and when, in signs that any disk takes.
function fileName(title, label, time) {
  const words = `pmlive ${title} ${label}`.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 80);
  return `${words.replace(/-+$/, "")}-${isoText(time || Date.now(), false).slice(0, 19).replace(/\D/g, "")}`;
}
