"use strict";
// Sort, filter and fold the tables. Without it the page is complete, in rank order.
// Every text came with the page; nothing here makes markup from text.
// Rows that are in the table at once: a table of thousands takes a browser seconds to lay out anew.
const STEP = 50;

for (const section of document.querySelectorAll(".ranking")) setUp(section);
addEventListener("hashchange", reveal);
reveal();

function setUp(section) {
  const table = section.querySelector("table.board");
  const controls = section.querySelector(".controls");
  if (!controls) return;
  const body = table.querySelector("tbody.methods");
  const rows = [...body.rows];
  const texts = rows.map((row) => row.dataset.words.toLowerCase());
  const search = controls.querySelector("input[type=search]");
  const kind = controls.querySelector("select");
  const extra = controls.querySelector("input[type=checkbox]");
  const shown = controls.querySelector(".shown");
  const next = section.querySelector("button.next");
  const headings = [...table.tHead.rows[0].cells];
  const fits = new Map(rows.map((row) => [row, true]));
  let order = rows;
  let most = STEP;

  function show() {
    const found = order.filter((row) => fits.get(row));
    const seen = found.slice(0, most);
    body.replaceChildren(...seen);
    shown.textContent = `${seen.length} of ${rows.length} rows`;
    next.hidden = found.length <= most;
    next.textContent = `Show ${Math.min(STEP, found.length - most)} more`;
  }

  function filter() {
    most = STEP;
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row, place) => {
      const named = words.every((word) => texts[place].includes(word));
      fits.set(row, named && (!kind.value || row.dataset.kind === kind.value));
    });
    show();
  }

  function sort(heading, place) {
    const number = "number" in heading.dataset;
    const now = heading.getAttribute("aria-sort");
    // Numbers are first asked for by the largest, places and words by the first.
    const rising = now ? now === "descending" : !number || place === 0;
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    most = STEP;
    const keyed = rows.map((row) => [row, row.cells[place].dataset.key]);
    keyed.sort((one, two) => compare(one[1], two[1], number, rising));
    order = keyed.map((pair) => pair[0]);
    show();
  }

  headings.forEach((heading, place) => {
    const label = heading.querySelector(".head");
    const button = document.createElement("button");
    button.type = "button";
    button.title = label.title;
    button.textContent = label.textContent;
    button.addEventListener("click", () => sort(heading, place));
    label.replaceWith(button);
  });
  search.addEventListener("input", filter);
  kind.addEventListener("change", filter);
  if (extra) extra.addEventListener("change", () => table.classList.toggle("wide", extra.checked));
  next.addEventListener("click", () => {
    most += STEP;
    show();
  });
  // A browser that goes back restores what was typed.
  controls.hidden = false;
  filter();
}

function compare(one, two, number, rising) {
  if (one === "" || two === "") return (one === "") - (two === "");
  const by = number ? one - two : one < two ? -1 : one > two ? 1 : 0;
  return rising ? by : -by;
}

// A deep link to a card opens what it holds and takes the keyboard there.
function reveal() {
  const name = decodeURIComponent(location.hash.slice(1));
  const target = name && document.getElementById(name);
  if (!target || !target.classList.contains("card")) return;
  for (const part of target.querySelectorAll("details")) part.open = true;
  target.focus({ preventScroll: true });
  target.scrollIntoView();
}
