"use strict";
// The controls above a table: a search box, and one control for each column that can be chosen by.
(function () {
  const R = (window.chggenReport = window.chggenReport || {});

  R.element = function (tag, properties, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(properties || {})) {
      if (key.startsWith("aria-") || key === "role" || key === "scope" || key === "for") {
        made.setAttribute(key, value);
      } else {
        made[key] = value;
      }
    }
    made.append(...children);
    return made;
  };

  function choices(rows, index) {
    const counts = new Map();
    for (const row of rows) {
      counts.set(row[index], (counts.get(row[index]) || 0) + 1);
    }
    return [...counts.keys()].filter((value) => value !== null);
  }

  // Controls of `table` ({columns, rows}); `changed` is called after any change. Gives {root, accepts, reset}.
  R.makeFilters = function (table, changed) {
    const root = R.element("div", { className: "controls", role: "group", "aria-label": "Filters" });
    const tests = [];
    const resets = [];
    const search = R.element("input", { type: "search", placeholder: "any text" });
    search.addEventListener("input", changed);
    root.append(R.element("label", {}, "Search", search));
    resets.push(() => (search.value = ""));
    tests.push((row) => {
      const wanted = search.value.trim().toLowerCase();
      return !wanted || row.some((value) => typeof value === "string" && value.toLowerCase().includes(wanted));
    });
    table.columns.forEach((column, index) => {
      if (column.filter === "choice") {
        const values = choices(table.rows, index);
        if (values.length < 2) {
          return;
        }
        const select = R.element("select", {}, R.element("option", { value: "" }, "all"));
        values.forEach((value, number) => select.append(R.element("option", { value: String(number) }, String(value))));
        select.dataset.filter = column.key;
        select.addEventListener("change", changed);
        root.append(R.element("label", {}, column.label, select));
        resets.push(() => (select.value = ""));
        tests.push((row) => select.value === "" || row[index] === values[Number(select.value)]);
      } else if (column.filter === "flag") {
        const box = R.element("input", { type: "checkbox" });
        box.dataset.filter = column.key;
        box.addEventListener("change", changed);
        root.append(R.element("label", { className: "flag" }, box, `${column.label} only`));
        resets.push(() => (box.checked = false));
        tests.push((row) => !box.checked || row[index] === true);
      } else if (column.filter === "max") {
        const most = R.element("input", { type: "number", step: "any" });
        most.dataset.filter = column.key;
        most.addEventListener("input", changed);
        root.append(R.element("label", {}, `${column.label} at most`, most));
        resets.push(() => (most.value = ""));
        tests.push((row) => most.value === "" || (row[index] !== null && row[index] <= Number(most.value)));
      }
    });
    const button = R.element("button", { type: "button" }, "Reset filters");
    button.addEventListener("click", () => {
      resets.forEach((reset) => reset());
      changed();
    });
    root.append(button);
    return { root, accepts: (row) => tests.every((test) => test(row)) };
  };
})();
