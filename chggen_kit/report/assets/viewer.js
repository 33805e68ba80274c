"use strict";
// The 3-D viewer of the chosen structure. Guests are told from the host by shape (large, with a shell) and by colour.
(function () {
  const R = (window.chggenReport = window.chggenReport || {});
  const HOST = "#7d8894";
  const GUEST = "#e06c00";
  const UNKNOWN = 0xff1493;
  const MOST_COMPLETED = 400; // drawn atoms; of more, those outside the cells are left out
  const NAMES = { relaxed: "relaxed", drawn: "as drawn" };
  const byId = (id) => document.getElementById(id);

  function elementColour(symbol) {
    const found = window.$3Dmol.elementColors.Jmol[symbol];
    return `#${(found === undefined ? UNKNOWN : found).toString(16).padStart(6, "0")}`;
  }

  // options: {crystals, radii, nameOf(index), factsOf(index)}
  R.makeViewer = function (options) {
    const canvas = byId("viewer-canvas");
    const states = byId("viewer-state");
    const colours = byId("viewer-colours");
    const cells = byId("viewer-cells");
    let scene = null;
    let chosen = null;

    function paper() {
      return window.getComputedStyle(document.documentElement).getPropertyValue("--paper").trim();
    }

    function start() {
      if (scene !== null) {
        return true;
      }
      const probe = document.createElement("canvas");
      if (!(probe.getContext("webgl2") || probe.getContext("webgl"))) {
        canvas.textContent = "This browser has no WebGL, so the structure cannot be drawn. The CIF can be downloaded.";
        return false;
      }
      scene = window.$3Dmol.createViewer(canvas, { backgroundColor: paper(), antialias: true, cartoonQuality: 1 });
      return true;
    }

    function colourOf(atom) {
      return colours.value === "roles" ? (atom.guest ? GUEST : HOST) : elementColour(atom.symbol);
    }

    function draw(keepView) {
      const crystal = options.crystals[chosen];
      const state = crystal[states.value];
      describe(crystal, state);
      if (!start()) {
        return;
      }
      const view = keepView ? scene.getView() : null;
      scene.removeAllModels();
      scene.removeAllShapes();
      scene.removeAllLabels();
      const count = Number(cells.value);
      const atoms = R.atomsOf(crystal, state, count);
      if (atoms.length <= MOST_COMPLETED) {
        atoms.push(...R.completionsOf(crystal, state, count, atoms, options.radii));
      }
      for (const atom of atoms) {
        const center = { x: atom.x, y: atom.y, z: atom.z };
        const radius = options.radii[atom.symbol] * (atom.guest ? 0.5 : 0.32);
        scene.addSphere({ center, radius, color: colourOf(atom) });
        if (atom.guest) {
          scene.addSphere({ center, radius: radius * 1.5, color: GUEST, opacity: 0.5 });
        }
      }
      for (const [i, j] of R.bondsOf(atoms, options.radii)) {
        stick(atoms[i], atoms[j]);
      }
      outline(state.lattice, count);
      if (view === null) {
        scene.zoomTo();
        scene.rotate(-72, "x");
        scene.rotate(18, "y");
        scene.zoom(0.92);
      } else {
        scene.setView(view);
      }
      scene.render();
      canvas.dataset.drawn = `${chosen} ${states.value} ${colours.value} ${cells.value}`;
    }

    // Each half in the colour of its atom.
    function stick(p, q) {
      const middle = { x: (p.x + q.x) / 2, y: (p.y + q.y) / 2, z: (p.z + q.z) / 2 };
      for (const atom of [p, q]) {
        const start = { x: atom.x, y: atom.y, z: atom.z };
        scene.addCylinder({ start, end: middle, radius: 0.11, color: colourOf(atom), fromCap: 0, toCap: 0 });
      }
    }

    function outline(lattice, count) {
      const color = R.isDark() ? "#c5ccd4" : "#3a424c";
      for (const [from, to] of R.edgesOf(lattice, count)) {
        const [start, end] = [from, to].map(([x, y, z]) => ({ x, y, z }));
        scene.addCylinder({ start, end, radius: 0.035, color, fromCap: 1, toCap: 1 });
      }
      ["a", "b", "c"].forEach((name, axis) => {
        const frac = [0, 0, 0];
        frac[axis] = 1.06;
        const [x, y, z] = R.cartesian(lattice, frac);
        const look = { fontColor: R.isDark() ? "white" : "black", fontSize: 15, showBackground: false, inFront: true };
        scene.addLabel(name, { position: { x, y, z }, alignment: "center", ...look });
      });
    }

    function describe(crystal, state) {
      const { lengths, angles, volume } = R.cellParameters(state.lattice);
      const name = options.nameOf(chosen);
      const counts = { host: new Map(), guest: new Map() };
      const guests = new Set(crystal.guests);
      crystal.species.forEach((element, index) => {
        const part = guests.has(index) ? counts.guest : counts.host;
        part.set(element, (part.get(element) || 0) + 1);
      });
      const say = (part) => [...part].map(([element, n]) => `${crystal.elements[element]}${n > 1 ? n : ""}`).join(" ");
      const facts = [
        ...options.factsOf(chosen),
        ["host", say(counts.host) || "none"],
        ["guests", say(counts.guest) || "none"],
        ["a, b, c (Å)", lengths.map((x) => x.toFixed(3)).join(", ")],
        ["α, β, γ (°)", angles.map((x) => x.toFixed(2)).join(", ")],
        ["volume (Å³)", volume.toFixed(2)],
      ];
      byId("viewer-title").textContent = name;
      byId("viewer-facts").replaceChildren(
        ...facts.flatMap(([key, value]) => [R.element("dt", {}, key), R.element("dd", {}, value)]),
      );
      canvas.setAttribute(
        "aria-label",
        `Structure ${name}, ${NAMES[states.value]}: host ${say(counts.host) || "none"}, guests ${say(counts.guest) || "none"}`,
      );
      legend(crystal, counts);
    }

    function legend(crystal, counts) {
      const items = [];
      for (const [part, guest] of [[counts.host, false], [counts.guest, true]]) {
        for (const element of part.keys()) {
          const symbol = crystal.elements[element];
          const swatch = R.element("span", { className: guest ? "swatch guest" : "swatch" });
          swatch.style.backgroundColor = colourOf({ symbol, guest });
          items.push(R.element("li", {}, swatch, guest ? `${symbol} (guest)` : symbol));
        }
      }
      byId("viewer-legend").replaceChildren(...items);
    }

    function reset() {
      if (chosen !== null) {
        draw(false);
      }
    }

    function key(event) {
      const turns = { ArrowLeft: [-8, "y"], ArrowRight: [8, "y"], ArrowUp: [-8, "x"], ArrowDown: [8, "x"] };
      const zooms = { "+": 1.15, "=": 1.15, "-": 1 / 1.15 };
      if (scene === null || event.ctrlKey || event.metaKey || event.altKey) {
        return;
      }
      if (event.key in turns) {
        scene.rotate(...turns[event.key]);
      } else if (event.key in zooms) {
        scene.zoom(zooms[event.key]);
      } else if (event.key === "0") {
        reset();
      } else {
        return;
      }
      event.preventDefault();
      scene.render();
    }

    canvas.addEventListener("keydown", key);
    states.addEventListener("change", () => draw(false));
    colours.addEventListener("change", () => draw(true));
    cells.addEventListener("change", () => draw(false));
    byId("viewer-reset").addEventListener("click", reset);
    byId("viewer-cif").addEventListener("click", () => {
      const name = `${options.nameOf(chosen)}-${states.value}`;
      const crystal = options.crystals[chosen];
      R.download(`${R.safeName(name)}.cif`, R.cif(name, crystal, crystal[states.value]), "chemical/x-cif");
    });
    document.addEventListener("themechange", () => {
      if (scene !== null) {
        scene.setBackgroundColor(paper());
        draw(true);
      }
    });
    new ResizeObserver(() => {
      if (scene !== null) {
        scene.resize();
      }
    }).observe(canvas);

    return {
      show(index, byHand) {
        const crystal = options.crystals[index];
        const panel = byId("viewer");
        panel.hidden = false;
        panel.parentElement.classList.add("open");
        panel.classList.toggle("empty", crystal === null);
        if (crystal === null) {
          chosen = null;
          byId("viewer-title").textContent = `${options.nameOf(index)}: no structure is stored`;
          return;
        }
        const before = states.value;
        states.replaceChildren(
          ...Object.keys(NAMES)
            .filter((name) => name in crystal)
            .map((name) => R.element("option", { value: name }, NAMES[name])),
        );
        if (before in crystal) {
          states.value = before;
        }
        chosen = index;
        draw(false);
        const rect = panel.getBoundingClientRect();
        if (byHand && (rect.top > window.innerHeight - 120 || rect.bottom < 120)) {
          panel.scrollIntoView({ block: "start" });
        }
      },
    };
  };
})();
