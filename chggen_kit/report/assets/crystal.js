"use strict";
// Geometry of crystals: cell parameters, atoms to be drawn with their images, and bonds.
(function () {
  const R = (window.chggenReport = window.chggenReport || {});
  const EDGE = 0.02; // fractional distance from a face of the cell within which an atom is drawn on the other one, too
  const BOND = 1.2; // bonds are up to this multiple of the sum of covalent radii

  const rows = (lattice) => [lattice.slice(0, 3), lattice.slice(3, 6), lattice.slice(6, 9)];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

  R.cellParameters = function (lattice) {
    const axes = rows(lattice);
    const lengths = axes.map((axis) => Math.sqrt(dot(axis, axis)));
    const angle = (i, j) =>
      (Math.acos(Math.min(1, Math.max(-1, dot(axes[i], axes[j]) / lengths[i] / lengths[j]))) * 180) / Math.PI;
    return {
      lengths,
      angles: [angle(1, 2), angle(0, 2), angle(0, 1)],
      volume: Math.abs(dot(axes[0], cross(axes[1], axes[2]))),
    };
  };

  R.cartesian = function (lattice, frac) {
    return [0, 1, 2].map((k) => frac[0] * lattice[k] + frac[1] * lattice[3 + k] + frac[2] * lattice[6 + k]);
  };

  // Places along one axis of an atom at x: in each of `cells` cells, and on the far face where it lies on the near one.
  function places(x, cells) {
    let folded = x - Math.floor(x);
    if (folded > 1 - EDGE) {
      folded -= 1;
    }
    const found = Array.from({ length: cells }, (_, cell) => folded + cell);
    if (folded < EDGE) {
      found.push(folded + cells);
    }
    return found;
  }

  // Atoms to be drawn: {symbol, guest, x, y, z, index}.
  R.atomsOf = function (crystal, state, cells) {
    const guests = new Set(crystal.guests);
    const atoms = [];
    crystal.species.forEach((element, index) => {
      const frac = state.coordinates.slice(3 * index, 3 * index + 3);
      for (const a of places(frac[0], cells)) {
        for (const b of places(frac[1], cells)) {
          for (const c of places(frac[2], cells)) {
            const [x, y, z] = R.cartesian(state.lattice, [a, b, c]);
            atoms.push({ symbol: crystal.elements[element], guest: guests.has(index), x, y, z, index });
          }
        }
      }
    });
    return atoms;
  };

  // Atoms outside the block that are bonded to a host atom within it: without them, polyanions would be cut by its faces.
  // Where host and guests are not told apart there are none: metals, in which all is bonded, would be buried.
  R.completionsOf = function (crystal, state, cells, atoms, radii) {
    const guests = new Set(crystal.guests);
    const some = guests.size > 0 && guests.size < crystal.species.length;
    const hosts = atoms.filter((atom) => some && !atom.guest);
    const taken = new Set(atoms.map(key));
    const found = [];
    crystal.species.forEach((element, index) => {
      if (hosts.length === 0 || guests.has(index)) {
        return;
      }
      const symbol = crystal.elements[element];
      const frac = state.coordinates.slice(3 * index, 3 * index + 3).map((x) => x - Math.floor(x));
      for (const shift of shifts(cells)) {
        const [x, y, z] = R.cartesian(state.lattice, frac.map((value, k) => value + shift[k]));
        const atom = { symbol, guest: guests.has(index), x, y, z, index };
        if (!taken.has(key(atom)) && hosts.some((host) => bonded(host, atom, radii))) {
          taken.add(key(atom));
          found.push(atom);
        }
      }
    });
    return found;
  };

  const key = (atom) => [atom.index, ...[atom.x, atom.y, atom.z].map((x) => Math.round(20 * x))].join(" ");

  function shifts(cells) {
    const found = [];
    for (let a = -1; a <= cells; a += 1) {
      for (let b = -1; b <= cells; b += 1) {
        for (let c = -1; c <= cells; c += 1) {
          found.push([a, b, c]);
        }
      }
    }
    return found;
  }

  function bonded(p, q, radii) {
    const reach = BOND * (radii[p.symbol] + radii[q.symbol]);
    const square = (p.x - q.x) ** 2 + (p.y - q.y) ** 2 + (p.z - q.z) ** 2;
    return square < reach * reach && square > 0.01;
  }

  // Pairs [i, j] of drawn atoms that are bonded: by covalent radii, within the host where there are guests.
  R.bondsOf = function (atoms, radii) {
    const some = atoms.some((atom) => atom.guest) && atoms.some((atom) => !atom.guest);
    const bonds = [];
    for (let i = 0; i < atoms.length; i += 1) {
      for (let j = i + 1; j < atoms.length; j += 1) {
        const [p, q] = [atoms[i], atoms[j]];
        if (some && (p.guest || q.guest)) {
          continue;
        }
        if (bonded(p, q, radii)) {
          bonds.push([i, j]);
        }
      }
    }
    return bonds;
  };

  // Edges of the block of cells as pairs of Cartesian points, those of the first cell first.
  R.edgesOf = function (lattice, cells) {
    const edges = [];
    for (let a = 0; a < cells; a += 1) {
      for (let b = 0; b < cells; b += 1) {
        for (let c = 0; c < cells; c += 1) {
          for (let axis = 0; axis < 3; axis += 1) {
            for (let corner = 0; corner < 4; corner += 1) {
              const from = [a, b, c];
              const others = [0, 1, 2].filter((k) => k !== axis);
              from[others[0]] += corner & 1;
              from[others[1]] += corner >> 1;
              const to = [...from];
              to[axis] += 1;
              edges.push([R.cartesian(lattice, from), R.cartesian(lattice, to)]);
            }
          }
        }
      }
    }
    return edges;
  };
})();
