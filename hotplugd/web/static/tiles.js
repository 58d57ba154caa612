// The tiles: each is a button that stays while its port does, so that the focus stays with it.

const tiles = new Map();
const groups = new Map();
const LOOKS = ["good", "waiting", "bad", "idle", "free", "absent"];
const PARTS = ["label", "word", "device", "who", "since", "speed", "why"];

export function element(name, properties = {}, text = undefined) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  if (text !== undefined) made.textContent = text;
  return made;
}

let isStale = false;

// What is not of now says so at each tile.
export function setStale(stale) {
  if (stale === isStale) return;
  isStale = stale;
  for (const tile of tiles.values()) update(tile, tile.shown);
}

export function tileOf(id) {
  return tiles.get(id)?.button;
}

// What a tile shows.
export function shownOf(id) {
  return tiles.get(id)?.shown;
}

// open: called with what a tile shows when it is chosen.
export function showGroups(place, shown, open) {
  const names = new Set(shown.map((each) => each.id));
  const ids = new Set(shown.flatMap((each) => each.tiles.map((tile) => tile.id)));
  for (const [id, tile] of tiles) if (!ids.has(id)) gone(id, tile);
  for (const [id, group] of groups) if (!names.has(id)) drop(groups, id, group.section);
  shown.forEach((each, number) => {
    const group = groups.get(each.id) ?? newGroup(each.id, each.name);
    if (group.note.textContent !== each.note) group.note.textContent = each.note;
    put(place, group.section, number);
    each.tiles.forEach((tile, position) => {
      const made = tiles.get(tile.id) ?? newTile(tile.id, open);
      update(made, tile);
      put(group.list, made.item, position);
    });
  });
  keepOneInTabOrder();
}

// What stays in its place keeps the focus.
export function put(parent, child, position) {
  if (parent.children[position] !== child) parent.insertBefore(child, parent.children[position] ?? null);
}

function drop(map, key, node) {
  map.delete(key);
  node.remove();
}

function gone(id, tile) {
  const isFocused = document.activeElement === tile.button;
  const next = tile.item.nextElementSibling ?? tile.item.previousElementSibling;
  drop(tiles, id, tile.item);
  if (isFocused) next?.querySelector("button")?.focus();
}

let numbered = 0;

function newGroup(id, name) {
  const title = element("h2", { id: `group-${numbered++}` }, name);
  const section = element("section");
  const list = element("ul", { className: "tiles" });
  const note = element("p", { className: "note" });
  section.setAttribute("aria-labelledby", title.id);
  list.setAttribute("aria-labelledby", title.id);
  section.append(title, list, note);
  const group = { section, list, note };
  groups.set(id, group);
  return group;
}

function newTile(id, open) {
  const tile = { item: element("li"), button: element("button", { type: "button" }), parts: {}, shown: null };
  for (const name of PARTS) {
    tile.parts[name] = element(name === "since" ? "time" : "span", { className: name });
    tile.button.append(tile.parts[name]);
  }
  tile.button.setAttribute("aria-haspopup", "dialog");
  tile.button.addEventListener("click", () => open(tile.shown));
  tile.button.addEventListener("keydown", (event) => move(event, tile.button));
  tile.item.append(tile.button);
  tiles.set(id, tile);
  return tile;
}

function update(tile, shown) {
  const since = sinceText(shown.since);
  const told = JSON.stringify([shown, since, isStale]);
  if (tile.told === told) return;
  tile.told = told;
  tile.shown = shown;
  const look = LOOKS.includes(shown.look) ? shown.look : "idle";
  tile.button.className = `tile ${look}`;
  const word = isStale ? `stale: was ${shown.word}` : shown.word;
  const texts = { ...shown, since, word };
  for (const name of PARTS) tile.parts[name].textContent = texts[name];
  tile.parts.since.dateTime = shown.since;
  const who = shown.who && `in ${shown.who}`;
  const says = [`${shown.place}: ${word}`, shown.device, who, since, shown.speed, shown.why];
  tile.button.setAttribute("aria-label", says.filter(Boolean).join(", "));
}

function sinceText(text) {
  const at = new Date(text);
  if (!text || Number.isNaN(at.getTime())) return "";
  const isToday = at.toDateString() === new Date().toDateString();
  const day = isToday ? {} : { month: "short", day: "numeric" };
  return `since ${at.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit", hourCycle: "h23" })}`;
}

// --- the keyboard ----------------------------------------------------------------------------------------

const buttons = () => [...document.querySelectorAll("button.tile")];

// Tab comes to the tiles once, and arrow keys go on from there.
function keepOneInTabOrder() {
  const all = buttons();
  choose(all.find((each) => each === document.activeElement) ?? all.find((each) => each.dataset.chosen) ?? all[0], all);
}

document.addEventListener("focusin", (event) => {
  if (event.target.matches("button.tile")) choose(event.target, buttons());
});

function choose(button, all) {
  for (const each of all) {
    each.tabIndex = each === button ? 0 : -1;
    if (each === button) each.dataset.chosen = "1";
    else delete each.dataset.chosen;
  }
}

function move(event, button) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const all = buttons();
  const at = all.indexOf(button);
  const ways = {
    ArrowRight: () => all[at + 1],
    ArrowLeft: () => all[at - 1],
    ArrowDown: () => beside(all.slice(at + 1), button, 1),
    ArrowUp: () => beside(all.slice(0, Math.max(at, 0)).reverse(), button, -1),
    Home: () => all[0],
    End: () => all[all.length - 1],
  };
  const next = ways[event.key]?.();
  if (event.key in ways) event.preventDefault();
  next?.focus();
}

// The nearest tile of the next row; candidates are in order from here on.
function beside(candidates, button, sign) {
  const here = button.getBoundingClientRect();
  const middle = (box) => box.left + box.width / 2;
  const boxes = candidates.map((each) => [each, each.getBoundingClientRect()]);
  const first = boxes.find(([, box]) => sign * (box.top - here.top) > here.height / 2);
  if (!first) return undefined;
  const row = boxes.filter(([, box]) => Math.abs(box.top - first[1].top) < box.height / 2);
  row.sort((one, other) => Math.abs(middle(one[1]) - middle(here)) - Math.abs(middle(other[1]) - middle(here)));
  return row[0][0];
}
