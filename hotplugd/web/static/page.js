// The page of `hotplugd serve`: what the stream says is shown, and STALE as soon as it says nothing.
// Texts of devices come in by textContent alone.

import { element, put, setStale, showGroups, shownOf, tileOf } from "./tiles.js";

// Milliseconds without a sign of life, which comes every five seconds; and until a stream is tried again.
const SILENCE = 15000;
const AGAIN = 5000;
const byId = (id) => document.getElementById(id);

// By the clock, which goes on while the host sleeps, and by one that nobody sets.
const now = () => [Date.now(), performance.now()];
let heardAt = now();
let triedAt = 0;
let stream = null;

function stale(why) {
  const text = `STALE: ${why}`;
  document.body.classList.add("stale");
  setStale(true);
  if (byId("stale").textContent !== text) byId("stale").textContent = text;
  byId("stale").hidden = false;
  document.title = "STALE – hotplugd";
}

function show(page) {
  const wasStale = document.body.classList.contains("stale");
  document.body.classList.remove("stale");
  setStale(false);
  byId("stale").hidden = true;
  byId("stale").textContent = "";
  byId("server").textContent = page.server;
  byId("summary").textContent = page.summary;
  const at = new Date(page.at);
  byId("at").replaceChildren("As of ", element("time", { dateTime: page.at }, at.toLocaleTimeString()));
  const problems = page.problems.length;
  document.title = problems ? `(${problems}) hotplugd` : "hotplugd";
  showProblems(page.problems);
  byId("empty").hidden = page.groups.length > 0;
  showGroups(byId("groups"), page.groups, open);
  if (byId("details").open) tellAgain(wasStale);
}

function showProblems(problems) {
  byId("problems").hidden = problems.length === 0;
  const list = byId("problem-list");
  const known = new Map([...list.children].map((item) => [item.dataset.told, item]));
  const items = problems.map((each) => {
    const told = JSON.stringify(each);
    const item = known.get(told) ?? problem(each, told);
    known.delete(told);
    return item;
  });
  const lost = [...known.values()].some((item) => item.contains(document.activeElement));
  for (const item of known.values()) item.remove();
  items.forEach((item, position) => put(list, item, position));
  if (lost) list.querySelector("button")?.focus();
}

function problem(each, told) {
  const item = element("li");
  item.dataset.told = told;
  if (!each.tile) {
    item.textContent = each.text;
    return item;
  }
  const button = element("button", { type: "button", className: "problem" }, each.text);
  button.addEventListener("click", () => tileOf(each.tile)?.focus());
  item.append(button);
  return item;
}

function listen() {
  stream?.close();
  const made = new EventSource("/page/stream");
  stream = made;
  triedAt = performance.now();
  const heard = (then) => (event) => {
    heardAt = now();
    then(event.data);
  };
  made.addEventListener("page", heard((text) => show(JSON.parse(text))));
  made.addEventListener("stale", heard(stale));
  made.addEventListener("alive", heard(() => {}));
  made.addEventListener("error", () => {
    stale("the connection to hotplugd serve is cut; it is tried again");
    // The browser tries again by itself, but not where the answer was an error.
    if (made.readyState === EventSource.CLOSED) setTimeout(() => made === stream && listen(), AGAIN);
  });
}

function seeSilence() {
  if (!now().some((at, clock) => at - heardAt[clock] > SILENCE)) return;
  // Once, and always the same text: a screen reader says what changes.
  const isTold = byId("stale").textContent.startsWith("STALE");
  if (!isTold) stale(`nothing was heard for ${SILENCE / 1000} seconds or more`);
  // What forgot the connection, as a router, or a tunnel while this host slept, does not say so.
  if (performance.now() - triedAt > SILENCE) listen();
}

// --- one tile --------------------------------------------------------------------------------------------

let asking = null;
let told = null;

function open(tile) {
  tell(tile);
  if (!byId("details").open) byId("details").showModal();
}

// What is open is of now, as the tiles are. must: also where the tile shows the same
function tellAgain(must) {
  const tile = shownOf(told.id) ?? { id: told.id, place: told.place, word: "not shown any more" };
  if (must || JSON.stringify(tile) !== JSON.stringify(told)) tell(tile);
}

function tell(tile) {
  told = tile;
  asking?.abort();
  asking = new AbortController();
  byId("details-title").textContent = `${tile.place}: ${tile.word}`;
  const facts = [
    ["what", tile.device], ["in", tile.who], ["since", tile.since && new Date(tile.since).toLocaleString()],
    ["speed", tile.speed], ["why", tile.why],
  ];
  byId("facts").replaceChildren(...rows(facts.filter(([, text]) => text)));
  ask("explain", tile.id, asking.signal, (answer) => {
    if (answer.sections.length === 0) return [element("p", {}, "Nothing is plugged in.")];
    return answer.sections.flatMap((each) => {
      const list = element("dl");
      list.append(...rows(each.rows));
      return [element("h4", {}, each.title), list];
    });
  });
  ask("history", tile.id, asking.signal, (answer) => {
    const list = element("ol");
    list.append(...answer.lines.map(([level, text]) => element("li", { className: level }, text)));
    const found = answer.lines.length ? [list] : [element("p", {}, "The daemon has no event of it.")];
    return answer.note ? [element("p", {}, answer.note), ...found] : found;
  });
}

async function ask(what, tile, signal, made) {
  byId(what).replaceChildren(element("p", {}, "…"));
  try {
    const response = await fetch(`/page/${what}?tile=${encodeURIComponent(tile)}`, { signal });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    byId(what).replaceChildren(...made(answer));
  } catch (error) {
    if (!signal.aborted) byId(what).replaceChildren(element("p", {}, `Not known: ${error.message}`));
  }
}

function rows(pairs) {
  return pairs.flatMap(([word, text]) => [element("dt", {}, word), element("dd", {}, text)]);
}

byId("close").addEventListener("click", () => byId("details").close());
byId("details").addEventListener("close", () => asking?.abort());
setInterval(seeSilence, 1000);
document.addEventListener("visibilitychange", seeSilence);
window.addEventListener("pageshow", seeSilence);
listen();
