// A pen that writes SVG: it takes the calls of a canvas that charts make, so that one drawing has two outputs.

const SETTINGS = ["fillStyle", "strokeStyle", "lineWidth", "lineJoin", "globalAlpha", "font", "textAlign"];
const ANCHORS = { left: "start", start: "start", center: "middle", right: "end", end: "end" };

class VectorPen {
  constructor({ width, height }, ground, title) {
    Object.assign(this, { width, height, ground, title });
    Object.assign(this, { fillStyle: "#000", strokeStyle: "#000", lineWidth: 1, lineJoin: "round", globalAlpha: 1 });
    Object.assign(this, { font: FONT, textAlign: "left" });
    this.ruler = document.createElement("canvas").getContext("2d");
    this.parts = [];
    this.path = [];
    this.dashes = "";
    this.clips = 0;
    // What was set at each save, and the groups that were opened since.
    this.saved = [];
    this.open = 0;
  }

  // --- state ---

  save() {
    const kept = Object.fromEntries(SETTINGS.map((name) => [name, this[name]]));
    this.saved.push({ ...kept, dashes: this.dashes, open: this.open });
    this.open = 0;
  }

  restore() {
    this.parts.push("</g>".repeat(this.open));
    Object.assign(this, this.saved.pop());
  }

  clip() {
    this.clips += 1;
    this.parts.push(`<clipPath id="c${this.clips}"><path d="${this.path.join("")}"/></clipPath><g clip-path="url(#c${this.clips})">`);
    this.open += 1;
  }

  setLineDash(lengths) {
    this.dashes = lengths.length ? ` stroke-dasharray="${lengths.join(" ")}"` : "";
  }

  // --- paths ---

  beginPath() {
    this.path = [];
  }

  closePath() {
    this.path.push("Z");
  }

  moveTo(x, y) {
    this.path.push(`M${short(x)} ${short(y)}`);
  }

  lineTo(x, y) {
    this.path.push(`L${short(x)} ${short(y)}`);
  }

  rect(x, y, width, height) {
    this.path.push(`M${short(x)} ${short(y)}h${short(width)}v${short(height)}h${short(-width)}Z`);
  }

  arc(x, y, radius, from, to) {
    const at = (angle) => `${short(x + radius * Math.cos(angle))} ${short(y + radius * Math.sin(angle))}`;
    // In two halves: one arc cannot end where it begins.
    for (const [begin, end] of [[from, (from + to) / 2], [(from + to) / 2, to]]) {
      this.path.push(`${this.path.length ? "L" : "M"}${at(begin)}A${short(radius)} ${short(radius)} 0 0 1 ${at(end)}`);
    }
  }

  fill() {
    this.parts.push(`<path d="${this.path.join("")}"${this.paint("fill", this.fillStyle)}/>`);
  }

  stroke() {
    const width = ` stroke-width="${this.lineWidth}" stroke-linejoin="${this.lineJoin}"${this.dashes}`;
    this.parts.push(`<path d="${this.path.join("")}" fill="none"${this.paint("stroke", this.strokeStyle)}${width}/>`);
  }

  // --- boxes, texts ---

  fillRect(...box) {
    this.box(box, this.paint("fill", this.fillStyle));
  }

  strokeRect(...box) {
    this.box(box, ` fill="none"${this.paint("stroke", this.strokeStyle)} stroke-width="${this.lineWidth}"`);
  }

  // There is nothing under it but the ground.
  clearRect(...box) {
    this.box(box, ` fill="${this.ground}"`);
  }

  box([x, y, width, height], paint) {
    const [left, top] = [Math.min(x, x + width), Math.min(y, y + height)];
    const size = `width="${short(Math.abs(width))}" height="${short(Math.abs(height))}"`;
    this.parts.push(`<rect x="${short(left)}" y="${short(top)}" ${size}${paint}/>`);
  }

  fillText(text, x, y) {
    const where = `x="${short(x)}" y="${short(y)}" text-anchor="${ANCHORS[this.textAlign]}"`;
    this.parts.push(`<text ${where} style="font: ${this.font}"${this.paint("fill", this.fillStyle)}>${escaped(text)}</text>`);
  }

  measureText(text) {
    this.ruler.font = this.font;
    return this.ruler.measureText(text);
  }

  // Colours that let others through are an attribute of their own in SVG.
  paint(name, colour) {
    const parts = /^rgba\(([^)]+),\s*([\d.]+)\)$/.exec(colour);
    const opacity = this.globalAlpha * (parts ? Number(parts[2]) : 1);
    const through = opacity < 1 ? ` ${name}-opacity="${Math.round(opacity * 1000) / 1000}"` : "";
    return ` ${name}="${parts ? `rgb(${parts[1]})` : escaped(colour)}"${through}`;
  }

  get text() {
    const size = `width="${this.width}" height="${this.height}" viewBox="0 0 ${this.width} ${this.height}"`;
    const ground = `<rect width="100%" height="100%" fill="${this.ground}"/>`;
    return `<svg xmlns="http://www.w3.org/2000/svg" ${size}><title>${escaped(this.title)}</title>${ground}\n${this.parts.join("\n")}\n</svg>\n`;
  }
}

function short(number) {
  return Math.round(number * 100) / 100;
}

function escaped(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return String(text).replace(/[&<>"]/g, (sign) => names[sign]);
}
