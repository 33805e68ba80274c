"use strict";
// A sortable, filterable, paged table. Only the rows of the page are in the document, so thousands stay quick.
(function () {
  const R = (window.chggenReport = window.chggenReport || {});
  const collator = new Intl.Collator("en", { numeric: true });
  const SIZES = [25, 50, 100, 250];

  function order(a, b) {
    if (typeof a === "string" || typeof b === "string") {
      return collator.compare(a, b);
    }
    return Number(a) - Number(b);
  }

  function text(value, column) {
    if (value === null) {
      return "–";
    }
    if (value === true || value === false) {
      return value ? "yes" : "no";
    }
    return typeof value === "number" && column.digits !== null ? value.toFixed(column.digits) : String(value);
  }

  // options: {root, caption, table, sort (key of the first order, or null), choose(rowIndex, row, byHand) or null, downloads}
  R.makeTable = function (options) {
    const { root, table } = options;
    const shown = table.columns.map((column, index) => ({ ...column, index })).filter((column) => column.label);
    const first = table.columns.findIndex((column) => column.key === options.sort);
    const state = { sort: first < 0 ? null : first, down: false, page: 0, size: SIZES[0], chosen: null, focus: 0 };
    let kept = table.rows.map((_, index) => index);

    const filters = R.makeFilters(table, () => {
      state.page = 0;
      update();
    });
    const status = R.element("p", { className: "status", role: "status" });
    const body = document.createElement("tbody");
    const heads = shown.map((column) => {
      const button = R.element("button", { type: "button", title: column.about }, column.label);
      const head = R.element("th", { scope: "col", "aria-sort": "none" }, button);
      head.dataset.key = column.key;
      button.addEventListener("click", () => {
        state.down = state.sort === column.index ? !state.down : false;
        state.sort = column.index;
        state.page = 0;
        update();
      });
      return head;
    });
    const grid = R.element(
      "table",
      {},
      R.element("caption", {}, options.caption),
      R.element("thead", {}, R.element("tr", {}, ...heads)),
      body,
    );
    const frame = R.element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": options.caption }, grid);
    const back = R.element("button", { type: "button" }, "Previous");
    const forth = R.element("button", { type: "button" }, "Next");
    const place = R.element("span", {});
    const size = R.element("select", {}, ...SIZES.map((n) => R.element("option", { value: String(n) }, String(n))));
    back.addEventListener("click", () => turn(-1));
    forth.addEventListener("click", () => turn(1));
    size.addEventListener("change", () => {
      state.size = Number(size.value);
      state.page = 0;
      update();
    });
    const pager = R.element("div", { className: "pager" }, back, place, forth, R.element("label", {}, "Rows ", size));
    for (const { label, run } of options.downloads) {
      const button = R.element("button", { type: "button" }, label);
      button.addEventListener("click", () => run(kept));
      pager.append(button);
    }
    root.append(filters.root, status, frame, pager);

    function turn(by) {
      state.page += by;
      state.focus = 0;
      paint();
    }

    function update() {
      kept = [];
      table.rows.forEach((row, index) => {
        if (filters.accepts(row)) {
          kept.push(index);
        }
      });
      if (state.sort !== null) {
        const column = state.sort;
        // What is missing stays at the end either way; sorting is stable.
        kept.sort((i, j) => {
          const [a, b] = [table.rows[i][column], table.rows[j][column]];
          if (a === null || b === null) {
            return Number(a === null) - Number(b === null);
          }
          return state.down ? order(b, a) : order(a, b);
        });
      }
      state.focus = 0;
      paint();
    }

    function paint() {
      const pages = Math.max(1, Math.ceil(kept.length / state.size));
      state.page = Math.min(Math.max(state.page, 0), pages - 1);
      const start = state.page * state.size;
      body.replaceChildren(...kept.slice(start, start + state.size).map(line));
      heads.forEach((head, number) => {
        const mine = shown[number].index === state.sort;
        head.setAttribute("aria-sort", mine ? (state.down ? "descending" : "ascending") : "none");
      });
      place.textContent = `Page ${state.page + 1} of ${pages}`;
      back.disabled = state.page === 0;
      forth.disabled = state.page === pages - 1;
      status.textContent = `${kept.length} of ${table.rows.length} rows`;
    }

    function line(index, number) {
      const row = table.rows[index];
      const cells = shown.map((column, place) => {
        const value = text(row[column.index], column);
        const className = typeof row[column.index] === "number" ? "number" : "";
        if (place > 0 || !options.choose) {
          return R.element("td", { className }, value);
        }
        const button = R.element("button", { type: "button" }, value);
        button.tabIndex = number === state.focus ? 0 : -1;
        button.setAttribute("aria-pressed", String(index === state.chosen));
        button.addEventListener("click", () => choose(index, true));
        button.addEventListener("keydown", (event) => move(event, number));
        return R.element("th", { scope: "row" }, button);
      });
      const made = R.element("tr", { className: index === state.chosen ? "chosen" : "" }, ...cells);
      made.dataset.row = String(index);
      return made;
    }

    // One button of the page can be reached by Tab; arrows, Home and End go on from there.
    function move(event, number) {
      const buttons = [...body.querySelectorAll("button")];
      const targets = { ArrowDown: number + 1, ArrowUp: number - 1, Home: 0, End: buttons.length - 1 };
      const target = buttons[targets[event.key]];
      if (target === undefined) {
        return;
      }
      event.preventDefault();
      buttons[number].tabIndex = -1;
      target.tabIndex = 0;
      state.focus = targets[event.key];
      target.focus();
    }

    function choose(index, byHand) {
      state.chosen = index;
      for (const row of body.rows) {
        const mine = row.dataset.row === String(index);
        row.className = mine ? "chosen" : "";
        row.querySelector("button").setAttribute("aria-pressed", String(mine));
      }
      options.choose(index, table.rows[index], byHand);
    }

    update();
    return { choose, kept: () => kept };
  };
})();
