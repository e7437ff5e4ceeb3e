// Sorting by a click on a heading, and a filter, for the leaderboard. The page is whole without it.
"use strict";
for (const heading of document.querySelectorAll("table.board th")) {
  const button = document.createElement("button");
  button.className = "sort";
  button.append(...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => {
    const cell = button.closest("th"), body = cell.closest("table").tBodies[0];
    const column = [...cell.parentNode.children].indexOf(cell);
    const down = cell.getAttribute("aria-sort") === "ascending";
    for (const other of cell.parentNode.children) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      const value = row.children[column].firstChild; // text, or an element that knows its exact value
      return value?.dataset?.value ?? value?.textContent ?? "";
    };
    const order = (a, b) => {
      const [x, y] = [key(a), key(b)], [m, n] = [parseFloat(x), parseFloat(y)];
      if (Number.isNaN(m) !== Number.isNaN(n)) return Number.isNaN(m) ? 1 : -1; // unknown values come last
      const difference = Number.isNaN(m) ? x.localeCompare(y) : m - n;
      return down ? -difference : difference;
    };
    body.append(...[...body.rows].sort(order));
  });
}
const filter = document.querySelector("input[type=search]");
if (filter) {
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of document.querySelectorAll("table.board tbody tr")) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
    }
  });
}
