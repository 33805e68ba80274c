"use strict";
// Downloads, made in the page: CSV of tables, CIF of crystals.
(function () {
  const R = (window.chggenReport = window.chggenReport || {});

  R.download = function (name, text, type) {
    const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
    window.setTimeout(() => URL.revokeObjectURL(url), 10000);
  };

  R.safeName = (text) => String(text).replace(/[^A-Za-z0-9.-]+/g, "_").slice(0, 80) || "data";

  function cell(value) {
    if (value === null) {
      return "";
    }
    if (typeof value === "number" || typeof value === "boolean") {
      return String(value);
    }
    // Spreadsheets take a text that begins so for a formula, and would run it.
    const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  R.csv = function (columns, rows) {
    const lines = [columns.map((column) => cell(column.key)), ...rows.map((row) => row.map(cell))];
    return lines.map((line) => line.join(",") + "\n").join("");
  };

  R.cif = function (name, crystal, state) {
    const { lengths, angles, volume } = R.cellParameters(state.lattice);
    const lines = [`data_${R.safeName(name)}`];
    ["a", "b", "c"].forEach((axis, i) => lines.push(`_cell_length_${axis} ${lengths[i].toFixed(6)}`));
    ["alpha", "beta", "gamma"].forEach((angle, i) => lines.push(`_cell_angle_${angle} ${angles[i].toFixed(6)}`));
    lines.push(`_cell_volume ${volume.toFixed(6)}`, "_symmetry_space_group_name_H-M 'P 1'", "_symmetry_Int_Tables_number 1");
    lines.push("loop_", "_symmetry_equiv_pos_site_id", "_symmetry_equiv_pos_as_xyz", "1 'x, y, z'", "loop_");
    lines.push("_atom_site_label", "_atom_site_type_symbol", "_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z");
    lines.push("_atom_site_occupancy");
    crystal.species.forEach((element, i) => {
      const symbol = crystal.elements[element];
      const place = state.coordinates.slice(3 * i, 3 * i + 3).map((x) => x.toFixed(7));
      lines.push(`${symbol}${i + 1} ${symbol} ${place.join(" ")} 1`);
    });
    return lines.join("\n") + "\n";
  };
})();
