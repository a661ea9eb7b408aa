"use strict";
(() => {
  const table = document.getElementById("outputs");
  if (!table) return;
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = Number(text.replaceAll(",", ""));
    return text === "" || Number.isNaN(number) ? { text } : { text, number };
  };
  const compare = (a, b, down) => {
    const empty = (one) => one.text === "" || one.text === "–";
    if (empty(a) || empty(b)) return empty(a) - empty(b);
    const both = a.number !== undefined && b.number !== undefined;
    const order = both ? a.number - b.number : a.text.localeCompare(b.text, "en", { numeric: true });
    return down ? -order : order;
  };
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => ({ row, key: key(row, column) }));
    rows.sort((a, b) => compare(a.key, b.key, down));
    body.append(...rows.map((one) => one.row));
  }));
  const filter = document.getElementById("filter");
  const shown = document.getElementById("shown");
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    let number = 0;
    for (const row of body.rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      number += row.hidden ? 0 : 1;
    }
    shown.textContent = wanted ? `${number} of ${body.rows.length}` : "";
  });
})();
