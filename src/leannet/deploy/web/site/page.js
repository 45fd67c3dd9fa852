// The page: takes images in, shows answers. All text of files and networks is set as text, never as markup.

import { setUpCamera } from "./camera.js";
import { loadNetwork } from "./network.js";
import { decode, prepare } from "./pixels.js";

const MOST_CARDS = 50;
const LATER_RUNS = 101; // of which the median is told
const PREVIEW = 320; // pixels

const find = (id) => document.getElementById(id);
const later = [];
let network = null;
let runs = 0;

function make(tag, text, kind) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (kind) element.className = kind;
  return element;
}

function figure(value, text) {
  const element = make("data", text);
  element.value = String(value);
  return element;
}

function say(text, alarm = false) {
  find("status").textContent = text;
  find("status").className = alarm ? "alarm" : "quiet";
}

const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function describe({ description, bytes, runtime }) {
  const { architecture, num_classes: classes, accuracy } = description;
  document.title = `${architecture} \u00b7 leannet`;
  find("title").textContent = architecture;
  const measured = accuracy
    ? `${accuracy.value.toFixed(1)} % right on ${accuracy.images.toLocaleString("en")} images of ${accuracy.data} (${accuracy.split})`
    : "accuracy not measured";
  const kind = description.int8 ? "8-bit weights" : null;
  find("facts").textContent = [`${classes} classes`, measured, kind].filter(Boolean).join(" \u00b7 ");
  find("about").textContent = `Network ${mebibytes(bytes)}; ${runtime.name}, ${mebibytes(runtime.bytes)}. Made by leannet.`;
}

function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Returns how long the answer took. The first run is left out of the median: it also sets things up. */
function timeLine(milliseconds, exit) {
  runs += 1;
  if (runs > 1) later.push(milliseconds);
  if (later.length > LATER_RUNS) later.shift();
  const line = make("p", undefined, "quiet");
  line.append("Answered in ", figure(milliseconds, `${milliseconds.toFixed(1)} ms`));
  if (later.length > 1) {
    line.append(` (median of the last ${later.length}: `, figure(median(later), `${median(later).toFixed(1)} ms`), ")");
  }
  if (exit !== null) line.append(", by exit ", figure(exit, String(exit)));
  return line;
}

function answerList(best) {
  const list = make("ol");
  for (const { label, probability } of best) {
    const percent = 100 * probability;
    const row = make("div", undefined, "row");
    row.append(make("span", label), figure(probability, `${percent.toFixed(1)} %`));
    const track = make("div", undefined, "track");
    const bar = make("div");
    bar.style.width = `${percent}%`;
    track.setAttribute("aria-hidden", "true");
    track.append(bar);
    const item = make("li");
    item.append(row, track);
    list.append(item);
  }
  return list;
}

function preview(picture, name) {
  const canvas = make("canvas");
  const scale = PREVIEW / Math.max(picture.width, picture.height);
  canvas.width = Math.max(Math.round(picture.width * scale), 1);
  canvas.height = Math.max(Math.round(picture.height * scale), 1);
  canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `The image ${name}`);
  return canvas;
}

/** Answers one file and returns its best label, null if there is no answer. */
async function answerFile(file) {
  const side = make("div");
  side.append(make("h2", file.name));
  let shown = make("p", "No preview", "quiet");
  let best = null;
  try {
    const picture = await decode(file);
    try {
      shown = preview(picture, file.name);
      const size = [picture.width, picture.height];
      const answer = await network.answer(prepare(picture, size, network.described.preparing));
      side.append(answerList(answer.best), timeLine(answer.milliseconds, answer.exit));
      best = answer.best[0].label;
    } finally {
      picture.close();
    }
  } catch (error) {
    side.append(make("p", `Not answered: ${error.message}`, "alarm"));
  }
  const article = make("article");
  article.append(shown, side);
  find("answers").prepend(article);
  while (find("answers").children.length > MOST_CARDS) find("answers").lastChild.remove();
  return best;
}

async function answerFiles(files) {
  const images = [...files];
  if (!images.length) return;
  await ready;
  if (!network) return;
  let best = null;
  for (const [index, file] of images.entries()) {
    say(images.length === 1 ? "Looking\u2026" : `Looking at image ${index + 1} of ${images.length}\u2026`);
    await new Promise((resolve) => setTimeout(resolve)); // lets the browser show what was said
    best = await answerFile(file);
  }
  say(images.length === 1 ? `${images[0].name}: ${best ?? "not answered"}` : `${images.length} images`);
}

async function answerFrame(video) {
  await ready;
  if (!network) throw new Error("the network is not loaded");
  const prepared = prepare(video, [video.videoWidth, video.videoHeight], network.described.preparing);
  const answer = await network.answer(prepared);
  find("seen").replaceChildren(answerList(answer.best), timeLine(answer.milliseconds, answer.exit));
}

async function begin() {
  try {
    network = await loadNetwork(say);
    describe(network.described);
    say("Ready.");
  } catch (error) {
    say(`The network cannot be loaded: ${error.message}`, true);
  }
}

for (const id of ["files", "photo"]) {
  find(id).addEventListener("change", (event) => {
    const images = [...event.target.files];
    event.target.value = ""; // so that the same file can be chosen again
    answerFiles(images);
  });
}
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    find("drop").classList.add("over");
  });
}
document.addEventListener("dragleave", () => find("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("drop").classList.remove("over");
  if (!event.dataTransfer.files.length) return say("What was dropped is no file.", true);
  answerFiles(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => answerFiles(event.clipboardData.files));

// Browsers give the camera only to https and to the own machine; elsewhere a phone can still take a photo.
if (navigator.mediaDevices?.getUserMedia) {
  find("camera").hidden = false;
  find("phone").hidden = true;
  setUpCamera({ button: find("camera"), live: find("live"), video: find("video") }, answerFrame, say);
}
const ready = begin();
