"use strict";

// Voxels run along x (to the patient's left), y (to the back) and z (to the head): axes 0, 1, 2.
const PLANES = {
  axial: { across: 0, down: 1, through: 2, upwards: false, marks: { left: "R", right: "L", top: "A", bottom: "P" } },
  coronal: { across: 0, down: 2, through: 1, upwards: true, marks: { left: "R", right: "L", top: "S", bottom: "I" } },
  sagittal: { across: 1, down: 2, through: 0, upwards: true, marks: { left: "A", right: "P", top: "S", bottom: "I" } },
};
const TOO_OLD = "This browser is too old: it lacks DecompressionStream (Chrome 80, Firefox 113, Safari 16.4).";

const byId = (id) => document.getElementById(id);
const sources = [...document.querySelectorAll("script.case")];
const tiles = []; // What is drawn: {plane, image, canvas, pixels, ...}.
const shown = { images: new Set(), planes: new Set(Object.keys(PLANES)), classes: new Set() };
let data = null; // The case on display, with its voxels unpacked.
let position = [0, 0, 0];
let active = "axial"; // The plane that keys move through.
let loading = 0; // Number of the newest choice of a case.
let drawing = false;

function make(parent, tag, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  parent.append(element);
  return element;
}

// ---- Data

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const voxels = new Uint8Array(await new Response(stream).arrayBuffer());
  for (let i = 1; i < voxels.length; i++) voxels[i] += voxels[i - 1]; // Stored as differences, modulo 256.
  return voxels;
}

async function unpackCase(source) {
  const found = JSON.parse(source.textContent);
  for (const volume of [...found.images, ...(found.label ? [found.label] : [])]) {
    volume.voxels = await unpack(volume.voxels);
  }
  return found;
}

async function showCase(index) {
  const ticket = ++loading;
  byId("case").selectedIndex = index;
  byId("previous").disabled = index === 0;
  byId("next").disabled = index === sources.length - 1;
  byId("readout").textContent = "Loading…";
  const found = await unpackCase(sources[index]);
  if (ticket !== loading) return; // Another case was chosen meanwhile.
  data = found;
  position = [...data.start];
  shown.images = new Set(data.images.keys());
  shown.classes = new Set(data.label ? data.label.values.keys() : []);
  makeChips();
  makePlanes();
  redraw();
}

// ---- Controls

function makeChips() {
  chips("image-chips", data.images.map((image) => image.name), shown.images, [...data.images.keys()], makePlanes);
  chips("plane-chips", Object.keys(PLANES), shown.planes, Object.keys(PLANES), makePlanes);
  const { values, volumes } = data.label ?? { values: [], volumes: [] };
  byId("label-chips").hidden = !values.length;
  const texts = values.map((value, index) => `${value} · ${volumes[index].toFixed(1)} ml`);
  const buttons = chips("label-chips", texts, shown.classes, [...values.keys()], redraw);
  buttons.forEach((button, index) => {
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = colourOf(index);
    button.prepend(swatch);
  });
}

// Buttons that put keys into a set and take them out again.
function chips(id, texts, set, keys, changed) {
  const parent = byId(id);
  parent.querySelectorAll("button").forEach((button) => button.remove());
  return texts.map((text, index) => {
    const button = make(parent, "button", { type: "button", className: "chip", textContent: text });
    button.setAttribute("aria-pressed", set.has(keys[index]));
    button.addEventListener("click", () => {
      if (!set.delete(keys[index])) set.add(keys[index]);
      button.setAttribute("aria-pressed", set.has(keys[index]));
      changed();
      redraw();
    });
    return button;
  });
}

function colourOf(classIndex) {
  return LABEL_COLOURS[classIndex % LABEL_COLOURS.length];
}

function makePlanes() {
  const parent = byId("planes");
  parent.replaceChildren();
  parent.classList.toggle("single", shown.images.size === 1);
  tiles.length = 0;
  for (const name of Object.keys(PLANES).filter((plane) => shown.planes.has(plane))) {
    const section = make(parent, "section");
    section.addEventListener("pointerenter", () => (active = name));
    makeSlider(section, name);
    const row = make(section, "div", { className: "tiles" });
    for (const image of data.images.filter((_, index) => shown.images.has(index))) makeTile(row, name, image);
  }
}

function makeSlider(section, name) {
  const { through } = PLANES[name];
  const head = make(section, "div", { className: "plane-head" });
  make(head, "b", { textContent: name[0].toUpperCase() + name.slice(1) });
  const slider = make(head, "input", { type: "range", min: 0, max: data.shape[through] - 1, id: `slice-${name}` });
  slider.setAttribute("aria-label", `${name} slice`);
  slider.addEventListener("input", () => moveTo({ [through]: Number(slider.value) }));
  make(head, "output", { id: `slice-${name}-text` });
}

function makeTile(row, name, image) {
  const plane = PLANES[name];
  const extent = (axis) => data.shape[axis] * data.spacing[axis];
  const [width, height] = [extent(plane.across), extent(plane.down)];
  const widest = Math.max(extent(0), extent(1));
  const figure = make(row, "figure");
  const frame = make(figure, "div", { className: "frame" });
  frame.style.aspectRatio = `${widest} / ${height}`;
  const inner = make(frame, "div", { className: "image" });
  inner.style.aspectRatio = `${width} / ${height}`;
  inner.style.height = "100%";
  const canvas = make(inner, "canvas", { width: data.shape[plane.across], height: data.shape[plane.down] });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${image.name}, ${name} slice`);
  for (const [side, letter] of Object.entries(plane.marks)) {
    make(frame, "span", { className: `mark ${side}`, textContent: letter });
  }
  const hairs = ["across", "down"].map((side) => make(inner, "i", { className: `hair ${side}` }));
  const caption = make(figure, "figcaption");
  make(caption, "b", { textContent: image.name });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  tiles.push({ plane, image, canvas, context, pixels, hairs, range: make(caption, "span") });
  listen(frame, canvas, name);
}

function listen(frame, canvas, name) {
  const { across, down, through, upwards } = PLANES[name];
  const follow = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * data.shape[across]);
    const row = Math.floor(((event.clientY - box.top) / box.height) * data.shape[down]);
    moveTo({ [across]: column, [down]: upwards ? data.shape[down] - 1 - row : row });
  };
  frame.addEventListener("pointerdown", follow);
  frame.addEventListener("pointermove", (event) => event.buttons && event.pointerType === "mouse" && follow(event));
  const turn = (event) => {
    event.preventDefault();
    moveTo({ [through]: position[through] - Math.sign(event.deltaY) });
  };
  frame.addEventListener("wheel", turn, { passive: false });
}

function moveTo(change) {
  for (const [axis, index] of Object.entries(change)) {
    position[axis] = Math.min(Math.max(index, 0), data.shape[axis] - 1);
  }
  redraw();
}

// ---- Drawing

function redraw() {
  if (drawing || !data) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    tiles.forEach(drawTile);
    writeTexts();
  });
}

function drawTile(tile) {
  const { plane, image, pixels } = tile;
  const { across, down, through, upwards } = plane;
  const strides = [1, data.shape[0], data.shape[0] * data.shape[1]];
  const [width, height] = [data.shape[across], data.shape[down]];
  const greys = greyTable();
  const colours = colourTable();
  const opacity = byId("opacity").value / 100;
  const label = data.label?.voxels;
  let target = 0;
  for (let row = 0; row < height; row++) {
    const index = upwards ? height - 1 - row : row;
    let voxel = position[through] * strides[through] + index * strides[down];
    for (let column = 0; column < width; column++, voxel += strides[across], target += 4) {
      const grey = greys[image.voxels[voxel]];
      const colour = label && colours[label[voxel]];
      for (let channel = 0; channel < 3; channel++) {
        pixels.data[target + channel] = colour ? grey + opacity * (colour[channel] - grey) : grey;
      }
      pixels.data[target + 3] = 255;
    }
  }
  tile.context.putImageData(pixels, 0, 0);
  placeHairs(tile, width, height);
}

// What is displayed for each of the 256 values under the chosen window.
function greyTable() {
  const [low, high] = windowEnds().map((end) => 255 * end);
  return Uint8ClampedArray.from({ length: 256 }, (_, value) => (255 * (value - low)) / (high - low));
}

// Lowest and highest displayed value, as shares of an image's range.
function windowEnds() {
  const [width, level] = [byId("window").value / 100, byId("level").value / 100];
  return [level - width / 2, level + width / 2];
}

// Colour [r, g, b] of each value of the label; null for what is not shown.
function colourTable() {
  const colours = (data.label?.values ?? []).map((_, index) => {
    const hex = colourOf(index);
    return shown.classes.has(index) ? [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16)) : null;
  });
  return [null, ...colours];
}

function placeHairs({ plane, hairs: [across, down] }, width, height) {
  const row = plane.upwards ? height - 1 - position[plane.down] : position[plane.down];
  across.style.top = `${(100 * (row + 0.5)) / height}%`;
  down.style.left = `${(100 * (position[plane.across] + 0.5)) / width}%`;
}

function writeTexts() {
  for (const id of ["opacity", "window", "level"]) byId(`${id}-text`).textContent = `${byId(id).value} %`;
  for (const name of shown.planes) {
    const { through } = PLANES[name];
    byId(`slice-${name}`).value = position[through];
    byId(`slice-${name}-text`).textContent = `${position[through] + 1} / ${data.shape[through]}`;
  }
  const ends = windowEnds();
  for (const { image, range } of tiles) {
    range.textContent = ends.map((end) => number(image.low + end * (image.high - image.low))).join(" … ");
  }
  byId("readout").textContent = readout();
}

// Place and values under the crosshair.
function readout() {
  const voxel = position[0] + data.shape[0] * (position[1] + data.shape[1] * position[2]);
  const millimetres = data.affine.map((row) => row[0] * position[0] + row[1] * position[1] + row[2] * position[2] + row[3]);
  const letters = ["RL", "AP", "SI"].map((pair, axis) => pair[millimetres[axis] < 0 ? 1 : 0]);
  const parts = [millimetres.map((value, axis) => `${letters[axis]} ${Math.abs(value).toFixed(1)}`).join("  ") + " mm"];
  for (const { name, low, high, voxels } of data.images) {
    const value = voxels[voxel];
    parts.push(`${name} ${value ? number(low + (value / 255) * (high - low)) : "–"}`);
  }
  const found = data.label?.voxels[voxel];
  if (found) parts.push(`label ${data.label.values[found - 1]}`);
  return parts.join("  ·  ");
}

function number(value) {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

// ---- Keys and start

function onKey(event) {
  if (!data || event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("select, input[type=range]");
  const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
  const cases = { ArrowLeft: -1, ArrowRight: 1 };
  if (typing && event.key !== "l") return; // Sliders and lists have their own use for arrows.
  if (event.key in steps) {
    const { through } = PLANES[active];
    moveTo({ [through]: position[through] + steps[event.key] });
  } else if (event.key in cases) {
    stepCase(cases[event.key]);
  } else if (event.key.toLowerCase() === "l") {
    const opacity = byId("opacity");
    [opacity.value, opacity.dataset.last] = Number(opacity.value) ? [0, opacity.value] : [opacity.dataset.last ?? 45, ""];
    redraw();
  } else {
    return;
  }
  event.preventDefault();
}

function stepCase(step) {
  const index = byId("case").selectedIndex + step;
  if (index >= 0 && index < sources.length) showCase(index);
}

function reset() {
  byId("controls").reset();
  shown.planes = new Set(Object.keys(PLANES));
  document.body.classList.remove("no-crosshair");
  showCase(byId("case").selectedIndex);
}

function start() {
  if (typeof DecompressionStream === "undefined") {
    byId("readout").textContent = TOO_OLD;
    return;
  }
  for (const source of sources) {
    make(byId("case"), "option", { textContent: source.dataset.name });
  }
  byId("case").addEventListener("change", (event) => showCase(event.target.selectedIndex));
  byId("previous").addEventListener("click", () => stepCase(-1));
  byId("next").addEventListener("click", () => stepCase(1));
  byId("reset").addEventListener("click", reset);
  for (const id of ["opacity", "window", "level"]) byId(id).addEventListener("input", redraw);
  byId("crosshair").addEventListener("change", (event) => {
    document.body.classList.toggle("no-crosshair", !event.target.checked);
  });
  document.addEventListener("keydown", onKey);
  showCase(0);
}

start();
