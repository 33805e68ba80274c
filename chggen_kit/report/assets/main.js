"use strict";
// Puts the page together from the data that it carries.
(function () {
  const R = window.chggenReport;
  const data = JSON.parse(document.getElementById("data").textContent);
  const structures = data.tables.structures;
  const position = Object.fromEntries(structures.columns.map((column, index) => [column.key, index]));
  const value = (index, key) => (key in position ? structures.rows[index][position[key]] : null);

  function nameOf(index) {
    return ["structure", "system", "method"].map((key) => value(index, key)).filter((one) => one !== null).join(" ");
  }

  function factsOf(index) {
    const facts = [["formula", value(index, "formula")]];
    if (value(index, "group_symbol") !== null) {
      facts.push(["space group", `${value(index, "group_symbol")} (${value(index, "group")})`]);
    }
    if (value(index, "E_d") !== null) {
      facts.push(["E_d (eV/atom)", value(index, "E_d").toFixed(3)]);
    }
    return facts.filter(([, fact]) => fact !== null);
  }

  const viewer = R.makeViewer({ crystals: data.crystals, radii: data.radii, nameOf, factsOf });

  function allCifs(kept) {
    const texts = kept
      .filter((index) => data.crystals[index] !== null)
      .map((index) => {
        const crystal = data.crystals[index];
        return R.cif(`${index + 1}-${nameOf(index)}`, crystal, crystal.relaxed || crystal.drawn);
      });
    R.download(`${R.safeName(data.name)}.cif`, texts.join("\n"), "chemical/x-cif");
  }

  function build(root) {
    const name = root.dataset.table;
    const table = data.tables[name];
    const csv = {
      label: "CSV of these rows",
      run: (kept) =>
        R.download(`${R.safeName(data.name)}-${name}.csv`, R.csv(table.columns, kept.map((i) => table.rows[i])), "text/csv"),
    };
    const cif = { label: "CIF of these rows", run: allCifs };
    const main = name === "structures";
    return R.makeTable({
      root,
      table,
      sort: main ? "E_d" : null,
      caption: root.dataset.caption,
      choose: main ? (index, row, byHand) => viewer.show(index, byHand) : null,
      downloads: main ? [csv, cif] : [csv],
    });
  }

  for (const root of document.querySelectorAll("[data-table]")) {
    const fold = root.closest("details");
    if (fold === null) {
      build(root);
    } else {
      // A folded table is built when it is opened.
      fold.addEventListener("toggle", () => build(root), { once: true });
    }
  }
})();
